TOKENIZE_OPTIONS =
TOKENIZER := $(PAIR_DIR)/tokenize
TOKENIZE_SETTINGS := $(strip --corpus $(PAIRS) --source $(SOURCE) --target $(TARGET) $(TOKENIZE_OPTIONS))
TOKENIZE_TRAIN = $(NLPSEQ) tokenize train $(TOKENIZE_SETTINGS) --out $(TOKENIZER) --replace

.PHONY: tokenize
tokenize: $(TOKENIZER)/manifest.json
all: tokenize

help::
	@: $(info $()  TOKENIZE_OPTIONS=$(TOKENIZE_OPTIONS)   further options of `nlpseq tokenize train`)

$(TOKENIZER).settings: export SETTINGS = $(TOKENIZE_SETTINGS)
$(TOKENIZER).settings: $(call changed,$(TOKENIZER).settings,$(TOKENIZE_SETTINGS)) | $(SETUP)
	@$(TOKENIZE_TRAIN) --check > /dev/null
	$(write_settings)

# nlpseq writes the manifest last and whole, so it is kept whenever it is there, even when make is interrupted.
.PRECIOUS: $(TOKENIZER)/manifest.json
$(TOKENIZER)/manifest.json: $(TOKENIZER).settings pipelines/tokenize/recipe.toml $(call corpus_files,$(PAIRS)) | $(SETUP)
	$(TOKENIZE_TRAIN)
