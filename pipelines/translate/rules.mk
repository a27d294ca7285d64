TRANSLATOR := $(PAIR_DIR)/translate
TRANSLATE_SETTINGS := $(strip $(if $(SEED),--seed $(SEED)) $(OPTIONS))
TRANSLATE_TRAIN = $(NLPSEQ) translate train --corpus $(PAIRS) --source $(SOURCE) --target $(TARGET) \
    --tokenizer $(TOKENIZER) --out $(TRANSLATOR) --replace $(MACHINE) $(TRANSLATE_SETTINGS)
EXAMPLES = "I drink milk" "Does she sell 1,250 books?" "Send the keys to marie7@example.org."

.PHONY: translate
translate: $(TRANSLATOR)/manifest.json
all: translate

help::
	@: $(info $()  OPTIONS=$(OPTIONS)   further options of `nlpseq translate train`, as in OPTIONS="--epochs 3")

$(TRANSLATOR).settings: export SETTINGS = $(TRANSLATE_SETTINGS)
# Checked before anything is made: a slip in OPTIONS shall not wait for the tokeniser.
$(TRANSLATOR).settings: $(call changed,$(TRANSLATOR).settings,$(TRANSLATE_SETTINGS)) | $(SETUP)
	@$(TRANSLATE_TRAIN) --check
	$(write_settings)

# Training ends with the scores of the test split, before it writes the manifest: one output, and it stands for all.
.PRECIOUS: $(TRANSLATOR)/manifest.json
$(TRANSLATOR)/manifest.json: $(TRANSLATOR).settings $(TOKENIZER)/manifest.json pipelines/translate/recipe.toml | $(SETUP)
	$(TRANSLATE_TRAIN)
	$(if $(filter en,$(SOURCE)),$(NLPSEQ) translate run --model $(TRANSLATOR) $(EXAMPLES))
