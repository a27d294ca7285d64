NER_OPTIONS =
NER_CORPUS := $(or $(CORPUS),newswire)
TAGGER := build/$(call corpus_name,$(NER_CORPUS))/ner
NER_SETTINGS := $(strip --corpus $(NER_CORPUS) $(if $(SEED),--seed $(SEED)) $(NER_OPTIONS))
NER_TRAIN = $(NLPSEQ) ner train $(NER_SETTINGS) --out $(TAGGER) --replace $(MACHINE)
NER_EXAMPLES = "Jordan told reporters on Monday that she would resign." "A storm cut the road between Jordan and Lincoln." \
    "Jordan beat Lincoln 3-1 on Monday."

.PHONY: ner
ner: $(TAGGER)/manifest.json
# A corpus that is named for all stages may have no tags.
ifeq ($(filter-out newswire conll2003 wnut_17,$(CORPUS)),)
all: ner
MODELS += $(TAGGER)/manifest.json
endif

help::
	@: $(info $()  NER_OPTIONS=$(NER_OPTIONS)   further options of `nlpseq ner train`)

$(TAGGER).settings: export SETTINGS = $(NER_SETTINGS)
$(TAGGER).settings: $(call changed,$(TAGGER).settings,$(NER_SETTINGS)) | $(SETUP)
	@$(NER_TRAIN) --check > /dev/null
	$(write_settings)

.PRECIOUS: $(TAGGER)/manifest.json
$(TAGGER)/manifest.json: $(TAGGER).settings pipelines/ner/recipe.toml $(call corpus_files,$(NER_CORPUS)) | $(SETUP)
	$(NER_TRAIN)
	$(NLPSEQ) ner tag --model $(TAGGER) $(NER_EXAMPLES)
