LM_OPTIONS =
LM_CORPUS := $(or $(CORPUS),python-library)
LANGUAGE_MODEL := build/$(call corpus_name,$(LM_CORPUS))/lm
LM_SETTINGS := $(strip --corpus $(LM_CORPUS) $(if $(SEED),--seed $(SEED)) $(LM_OPTIONS))
LM_TRAIN = $(NLPSEQ) lm train $(LM_SETTINGS) --out $(LANGUAGE_MODEL) --replace $(MACHINE)
LM_PROMPT = $(if $(filter python-library,$(LM_CORPUS)),"def ",$(if $(filter tiny_shakespeare,$(LM_CORPUS)),"ROMEO:",""))

.PHONY: lm
lm: $(LANGUAGE_MODEL)/manifest.json
all: lm
MODELS += $(LANGUAGE_MODEL)/manifest.json

help::
	@: $(info $()  LM_OPTIONS=$(LM_OPTIONS)   further options of `nlpseq lm train`)

$(LANGUAGE_MODEL).settings: export SETTINGS = $(LM_SETTINGS)
$(LANGUAGE_MODEL).settings: $(call changed,$(LANGUAGE_MODEL).settings,$(LM_SETTINGS)) | $(SETUP)
	@$(LM_TRAIN) --check > /dev/null
	$(write_settings)

.PRECIOUS: $(LANGUAGE_MODEL)/manifest.json
$(LANGUAGE_MODEL)/manifest.json: $(LANGUAGE_MODEL).settings pipelines/lm/recipe.toml $(call corpus_files,$(LM_CORPUS)) | $(SETUP)
	$(LM_TRAIN)
	$(NLPSEQ) lm sample --model $(LANGUAGE_MODEL) --prompt $(LM_PROMPT) --length 400 --temperature 0.7
