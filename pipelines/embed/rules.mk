EMBED_OPTIONS =
EMBED_CORPUS := $(or $(CORPUS),almanac)
EMBEDDINGS := build/$(call corpus_name,$(EMBED_CORPUS))/embed
EMBED_SETTINGS := $(strip --corpus $(EMBED_CORPUS) $(if $(SEED),--seed $(SEED)) $(EMBED_OPTIONS))
EMBED_TRAIN = $(NLPSEQ) embed train $(EMBED_SETTINGS) --out $(EMBEDDINGS) --replace $(MACHINE)
# Corpora that are known to have the words of the examples.
EMBED_SHOWN := $(filter almanac wikipedia_en_2014_sample,$(EMBED_CORPUS))

.PHONY: embed
embed: $(EMBEDDINGS)/manifest.json
all: embed
MODELS += $(EMBEDDINGS)/manifest.json

help::
	@: $(info $()  EMBED_OPTIONS=$(EMBED_OPTIONS)   further options of `nlpseq embed train`)

$(EMBEDDINGS).settings: export SETTINGS = $(EMBED_SETTINGS)
$(EMBEDDINGS).settings: $(call changed,$(EMBEDDINGS).settings,$(EMBED_SETTINGS)) | $(SETUP)
	@$(EMBED_TRAIN) --check > /dev/null
	$(write_settings)

.PRECIOUS: $(EMBEDDINGS)/manifest.json
$(EMBEDDINGS)/manifest.json: $(EMBEDDINGS).settings pipelines/embed/recipe.toml $(call corpus_files,$(EMBED_CORPUS)) | $(SETUP)
	$(EMBED_TRAIN)
	$(if $(EMBED_SHOWN),$(NLPSEQ) embed nearest --model $(EMBEDDINGS) --count 5 queen paris walked)
	$(if $(EMBED_SHOWN),$(NLPSEQ) embed analogy --model $(EMBEDDINGS) --count 5 man king woman)
