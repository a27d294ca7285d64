# Start with `make translate`, or `make help` for the rest. Works with GNU make 3.81 (macOS) and newer.
# Plain `=`, so that only the command line changes a setting and no stray TARGET or SEED of the environment.
CORPUS =
SOURCE = en
TARGET = fr
DEVICE = auto
THREADS =
SEED =
OPTIONS =
CAMPAIGN =
MODELS =
PYTHON ?= python3
NLPSEQ = .venv/bin/nlpseq

VENV_PYTHON := .venv/bin/python
# An nlpseq of your own, as in `make translate NLPSEQ=nlpseq`, needs no .venv.
SETUP := $(if $(filter .venv/bin/nlpseq,$(NLPSEQ)),.venv/.runtime)
MACHINE = --device $(DEVICE)$(if $(THREADS), --threads $(THREADS))

# Every stage has a corpus of its own for when none is named: $(call corpus_name,path/to/mine.tsv.gz) is mine. A corpus
# that changes makes its models stale; the code of nlpseq does not: a training may have taken hours.
corpus_name = $(basename $(notdir $(patsubst %.gz,%,$(patsubst %/,%,$(1)))))
corpus_files = $(wildcard $(1) $(1:%/=%).* corpora/$(1)/*) $(if $(wildcard $(1:%/=%)/.),$(call inside,$(1:%/=%)))
# What is in a folder, however deep, but for hidden names and those that make would take for several.
inside = $(shell find '$(1)' -mindepth 1 -name '.*' -prune -o ! -path '*[ :]*' -print)

# build/phrasebook, build/multi30k-en-de, and build/mine-en-fr: the corpus and, but for the default, its pair. What one
# corpus and pair wrote is never overwritten by another's (but mine.csv and mine.txt are both `mine`).
PAIRS := $(or $(CORPUS),phrasebook)
PAIR_DIR := build/$(patsubst phrasebook-en-fr,phrasebook,$(call corpus_name,$(PAIRS))-$(SOURCE)-$(TARGET))

# A stage depends on a file that holds its settings. $(call changed,FILE,SETTINGS) is FORCE where the file holds others,
# so that it is rewritten just then. Device and threads cannot change a result and are not among the settings.
changed = $(if $(findstring <$(2)>,<$(shell cat $(1) 2>/dev/null)>),,FORCE)
write_settings = @mkdir -p $(@D) && printf '%s\n' "$$SETTINGS" > $@.new && mv $@.new $@

.PHONY: help setup check test bench campaign clean distclean all FORCE
# Two trainings at once would only fight for the cores, so -j changes nothing.
.NOTPARALLEL:

define HELP
Targets
  make translate   tokenise, train, decode, score and show a translator
  make tokenize    its tokeniser alone
  make embed       word vectors: train, score and show neighbours
  make lm          a language model: train, score and let it write
  make sentiment   a classifier of reviews: train, score and explain two answers
  make ner         named entities: train, score and tag a few sentences
  make all         every stage, and build/index.html with links to all reports
  make setup       .venv with everything in it; the others do this by themselves
  make check       ruff and mypy
  make test        the tests, two to four minutes
  make bench       the benchmarks
  make campaign    kills, full disks, damage, fuzz, load: an hour; with CAMPAIGN=--short minutes
  make clean       removes build/ and all models in it; make distclean removes .venv too

Settings, with their values now, for the command line as in: make translate CORPUS=multi30k TARGET=de
  CORPUS=$(CORPUS)   a corpus of "nlpseq corpora list", or the path of a file or folder of yours (without spaces);
      when empty each stage takes its own: phrasebook for pairs, almanac for word vectors, reviews for sentiment,
      newswire for entities, python-library for language models
  SOURCE=$(SOURCE) TARGET=$(TARGET)   the languages, or the columns of your file
  DEVICE=$(DEVICE)   auto, cpu, cuda or cuda:N
  THREADS=$(THREADS)   CPU threads; all cores when empty
  SEED=$(SEED)   of the training; the recipe's when empty
  PYTHON=$(PYTHON)   makes .venv: Python 3.11, 3.12 or 3.13
  NLPSEQ=$(NLPSEQ)   another one needs no .venv
endef
# Each stage adds its own settings.
help::
	@: $(info $(HELP))

include $(wildcard pipelines/*/rules.mk)

# Each stage of `all` adds its model to MODELS; the page that links their reports comes last.
all: build/index.html
build/index.html: $(MODELS) | $(SETUP)
	$(NLPSEQ) reports build
	@touch $@

setup: .venv/.runtime

# Each runs alone and writes its stamp last; what a killed set-up leaves behind is made anew.
.venv/.runtime: constraints.txt pyproject.toml pipelines/setup_venv.py
	@$(PYTHON) pipelines/setup_venv.py
.venv/.dev: constraints.txt pyproject.toml pipelines/setup_venv.py
	@$(PYTHON) pipelines/setup_venv.py --dev

check: .venv/.dev
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m mypy

# One process of tests for each core; those of one file stay together, for they share trained models.
test: .venv/.dev
	$(VENV_PYTHON) -m pytest --numprocesses auto --dist loadfile

bench: .venv/.dev
	$(VENV_PYTHON) tests/benchmarks/run.py

campaign: .venv/.dev
	$(VENV_PYTHON) tests/campaign/run.py $(CAMPAIGN)

clean:
	rm -rf build
	@echo "build/ is gone; .venv stays (make distclean removes it too)."

distclean: clean
	rm -rf .venv
