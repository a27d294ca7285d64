# Vectors of the tokeniser's units, which the translator starts from: by default where that was measured to help, and
# where their size is known to fit.
VECTORS = $(if $(findstring --embed-size,$(OPTIONS)),,$(filter phrasebook multi30k,$(PAIRS)))
VECTOR_OPTIONS =
PAIR_VECTORS := $(PAIR_DIR)/vectors
PAIR_VECTORS_SETTINGS := $(strip --corpus $(PAIRS) --source $(SOURCE) --target $(TARGET) \
    $(if $(SEED),--seed $(SEED)) $(VECTOR_OPTIONS))
PAIR_VECTORS_TRAIN = $(NLPSEQ) embed train $(PAIR_VECTORS_SETTINGS) --tokenizer $(TOKENIZER) --out $(PAIR_VECTORS) \
    --replace $(MACHINE)

TRANSLATOR := $(PAIR_DIR)/translate
TRANSLATE_SETTINGS := $(strip $(if $(SEED),--seed $(SEED)) $(if $(VECTORS),--embeddings $(PAIR_VECTORS)) $(OPTIONS))
TRANSLATE_TRAIN = $(NLPSEQ) translate train --corpus $(PAIRS) --source $(SOURCE) --target $(TARGET) \
    --tokenizer $(TOKENIZER) --out $(TRANSLATOR) --replace $(MACHINE) $(TRANSLATE_SETTINGS)
EXAMPLES = "I drink milk" "Does she sell 1,250 books?" "Send the keys to marie7@example.org."

.PHONY: translate
translate: $(TRANSLATOR)/manifest.json
all: translate
MODELS += $(TRANSLATOR)/manifest.json

help::
	@: $(info $()  OPTIONS=$(OPTIONS)   further options of `nlpseq translate train`, as in OPTIONS="--epochs 3")
	@: $(info $()  VECTORS=$(VECTORS)   anything: train vectors first that the translator starts from; empty: do not)
	@: $(info $()  VECTOR_OPTIONS=$(VECTOR_OPTIONS)   further options of `nlpseq embed train` for them)

$(PAIR_VECTORS).settings: export SETTINGS = $(PAIR_VECTORS_SETTINGS)
$(PAIR_VECTORS).settings: $(call changed,$(PAIR_VECTORS).settings,$(PAIR_VECTORS_SETTINGS)) | $(SETUP)
	@$(PAIR_VECTORS_TRAIN) --check > /dev/null
	$(write_settings)

.PRECIOUS: $(PAIR_VECTORS)/manifest.json
$(PAIR_VECTORS)/manifest.json: $(PAIR_VECTORS).settings $(TOKENIZER)/manifest.json pipelines/embed/recipe.toml | $(SETUP)
	$(PAIR_VECTORS_TRAIN)

$(TRANSLATOR).settings: export SETTINGS = $(TRANSLATE_SETTINGS)
# Checked before anything is made: a slip in OPTIONS shall not wait for the tokeniser.
$(TRANSLATOR).settings: $(call changed,$(TRANSLATOR).settings,$(TRANSLATE_SETTINGS)) | $(SETUP)
	@$(TRANSLATE_TRAIN) --check > /dev/null
	$(write_settings)

# Training ends with the scores of the test split, before it writes the manifest: one output, and it stands for all.
.PRECIOUS: $(TRANSLATOR)/manifest.json
$(TRANSLATOR)/manifest.json: $(TRANSLATOR).settings $(TOKENIZER)/manifest.json pipelines/translate/recipe.toml \
    $(if $(VECTORS),$(PAIR_VECTORS)/manifest.json) | $(SETUP)
	$(TRANSLATE_TRAIN)
	$(if $(filter en,$(SOURCE)),$(NLPSEQ) translate run --model $(TRANSLATOR) $(EXAMPLES))
