# `make study` and `make test` set a fresh machine up by themselves: they depend on the stamp below.
PYTHON ?= python3
VENV ?= $(or $(STUDY_VENV),.venv)
STAMP := $(VENV)/.installed
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install -qq -c constraints.txt

export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help study test apt lint check-clusters newest-ray bench clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name what; do \
	  printf '%-20s %s\n' "$$name" "$$what"; done

study: $(STAMP)  ## run the small synthetic study to the end: leaderboard and report in ./studies
	@$(PY) -m study.run phantom --budget 4min --image-size 64

test: $(STAMP)  ## install Debian packages if allowed, check style and types, then run every test
	@.ci/apt || true
	@$(MAKE) --no-print-directory lint
	@$(PY) -m pytest -n 2 --no-loadscope-reorder --durations 30

apt:  ## install the Debian packages that the tests need, with root or sudo
	@.ci/apt --ask

lint: $(STAMP)  ## check style and types only
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy

check-clusters: $(STAMP)  ## say, offline, what Ray, AWS or Kubernetes would not accept in clusters/*.yaml
	@$(PY) -m pytest tests/cluster_files -m "not cluster"

newest-ray: $(STAMP)  ## run the tests of lanes with the newest Ray of the package index, beside the installed one
	@rm -rf build/newest-ray
	@$(PY) -m pip install -qq --no-deps --target build/newest-ray 'ray<3'
	@PYTHONPATH=build/newest-ray $(PY) -c 'import ray; print(f"ray {ray.__version__}")'
	@PYTHONPATH=build/newest-ray $(PY) -m pytest -q tests/study/lanes tests/e2e/test_lanes_e2e.py

bench: export BENCH_DATE := $(shell date +%F)
bench: $(STAMP)  ## run every benchmark in tests/benchmarks, one after the other: over two hours; then a table
	@for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(PY) $$script || exit 1; done
	@$(PY) tests/benchmarks/figures.py

clean:  ## remove .venv and caches; studies and data stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find seg study analysis tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first, so that nothing else chooses its version. The scorer of ISIC last and alone: what it unzips with, and the
# tests do not, would have to be compiled. -qq: errors only.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || { echo \
	  "error: $(PYTHON): Python 3.11, 3.12, 3.13 or 3.14 is needed; name one: make PYTHON=python3.13 ..." >&2; exit 2; }
	@echo "installing into $(VENV) (2 to 4 minutes, 7 GB) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) torch torchvision
	@$(PIP_INSTALL) -e '.[test,samplers,dashboard,export]'
	@$(PIP_INSTALL) --no-deps isic-challenge-scoring
	@touch $(STAMP)
