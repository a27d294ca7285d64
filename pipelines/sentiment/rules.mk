SENTIMENT_OPTIONS =
REVIEWS := $(or $(CORPUS),reviews)
# Vectors of the same corpus' text, which the classifier starts from: by default where there is text without labels.
SENTIMENT_VECTORS = $(if $(findstring --embed-size,$(SENTIMENT_OPTIONS)),,$(filter imdb,$(CORPUS)))
CLASSIFIER := build/$(call corpus_name,$(REVIEWS))/sentiment
SENTIMENT_SETTINGS := $(strip --corpus $(REVIEWS) $(if $(SEED),--seed $(SEED)) \
    $(if $(SENTIMENT_VECTORS),--embeddings $(EMBEDDINGS)) $(SENTIMENT_OPTIONS))
SENTIMENT_TRAIN = $(NLPSEQ) sentiment train $(SENTIMENT_SETTINGS) --out $(CLASSIFIER) --replace $(MACHINE)
OPINIONS = "I love this film, but it is hardly convincing." "Although I dislike it, this is no dull film."

.PHONY: sentiment
sentiment: $(CLASSIFIER)/manifest.json
# Another corpus of the command line may have no labels.
all: $(if $(filter-out reviews imdb,$(CORPUS)),,sentiment)
MODELS += $(if $(filter-out reviews imdb,$(CORPUS)),,$(CLASSIFIER)/manifest.json)

help::
	@: $(info $()  SENTIMENT_OPTIONS=$(SENTIMENT_OPTIONS)   further options of `nlpseq sentiment train`, as in SENTIMENT_OPTIONS="--cell gru")
	@: $(info $()  SENTIMENT_VECTORS=$(SENTIMENT_VECTORS)   anything: train vectors of CORPUS first that the classifier starts from; empty: do not)

$(CLASSIFIER).settings: export SETTINGS = $(SENTIMENT_SETTINGS)
# Checked before anything is made: a slip in SENTIMENT_OPTIONS shall not wait for the vectors.
$(CLASSIFIER).settings: $(call changed,$(CLASSIFIER).settings,$(SENTIMENT_SETTINGS)) | $(SETUP)
	@$(SENTIMENT_TRAIN) --check > /dev/null
	$(write_settings)

.PRECIOUS: $(CLASSIFIER)/manifest.json
$(CLASSIFIER)/manifest.json: $(CLASSIFIER).settings pipelines/sentiment/recipe.toml $(call corpus_files,$(REVIEWS)) \
    $(if $(SENTIMENT_VECTORS),$(EMBEDDINGS)/manifest.json) | $(SETUP)
	$(SENTIMENT_TRAIN)
	$(if $(filter reviews imdb,$(REVIEWS)),$(NLPSEQ) sentiment predict --model $(CLASSIFIER) --explain $(OPINIONS))
