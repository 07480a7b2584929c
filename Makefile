# Each target sets up all it needs in $(VENV). A fresh clone needs python3 >= 3.10 with venv, pip and its headers,
# a C++20 compiler and make.
PYTHON ?= python3
VENV ?= .venv
EXTRAS := dev,encoders,clip,dino,onnx,images,cli,plot,sklearn,sql,jit,limit,arrow,interop
PY := $(VENV)/bin/python
AT_ONCE := -n auto --maxprocesses 4 --dist worksteal
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint requirements/constraints.txt
SOURCES := $(shell find csrc bindings -type f)

CPP = find csrc bindings tests/cpp -name '*.[hc]pp' -o -name '*.inc'

.PHONY: help demo test stress lint tidy format stubs bench sanitize sanitize-address sanitize-thread package clean
help:
	@echo "make demo | test | stress | lint | tidy | format | stubs | bench | sanitize | package | clean"

# Installs once, and again when the core or what it needs has changed.
$(VENV)/.installed: pyproject.toml setup.py requirements/constraints.txt $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[$(EXTRAS)]'
	touch $@

demo: $(VENV)/.installed
	$(PY) examples/demo.py

test: $(VENV)/.installed
	$(PY) -m pytest $(AT_ONCE)

# Collections in folders under damage, kills, failures, fuzzing, threads and processes, and their speed: six figures, in an hour
stress: $(VENV)/.installed
	$(PY) -m pytest -m stress tests/stress

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(CPP) | xargs $(VENV)/bin/clang-format --dry-run -Werror
	$(MAKE) --no-print-directory STUBS=build/stubs stubs
	diff engine/_core.pyi build/stubs/_core.pyi

# Advice on the core, which decides nothing
tidy: $(VENV)/.installed
	$(PIP) clang-tidy==23.1.4
	$(VENV)/bin/cmake -S bindings -B build/tidy -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DPython_EXECUTABLE=$(abspath $(PY)) \
		-Dpybind11_DIR=$$($(PY) -m pybind11 --cmakedir)
	find csrc -name '*.cpp' | xargs $(VENV)/bin/clang-tidy --quiet -p build/tidy

format: $(VENV)/.installed
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format
	$(CPP) | xargs $(VENV)/bin/clang-format -i

# engine/_core.pyi as the built core has it, whatever machine built it
STUBS := engine
stubs: $(VENV)/.installed
	ENGINE_ISA=baseline $(VENV)/bin/pybind11-stubgen engine._core --output-dir build/stubs-raw --exit-code
	mkdir -p $(STUBS)
	$(VENV)/bin/ruff format --quiet --stdin-filename _core.pyi < build/stubs-raw/engine/_core.pyi > $(STUBS)/_core.pyi

bench: $(VENV)/.bench
	$(PY) -m bench.run exact

$(VENV)/.bench: $(VENV)/.installed
	$(PIP) --editable '.[$(EXTRAS),bench]'
	touch $@

# The fast tests of the core under ASan + UBSan, then under TSan: a copy of the tree, built with ENGINE_SANITIZE.
# Left out: how much memory a search takes, since sanitizers take more; under TSan Ctrl-C, since it holds signals back.
# What TSan has to say is in build/thread/report.*: pytest would keep it to itself.
CORE_TESTS := $(addprefix tests/unit/test_,as_given.py attributes_core.py bitmap.py cancel.py index.py kernels.py \
	search_each.py segments.py topk.py) \
	tests/unit/graph tests/property/test_attributes.py tests/property/test_model.py
runtime = $(foreach library,$(1) libstdc++.so,$(shell $(or $(CXX),c++) -print-file-name=$(library)))
sanitize: sanitize-address sanitize-thread
sanitize-address: PRELOAD = $(call runtime,libasan.so)
sanitize-address: SKIP = no_matrix or memory_that_runs_out or other_instruction_sets
sanitize-thread: PRELOAD = $(call runtime,libtsan.so)
sanitize-thread: SKIP = no_matrix or ctrl_c or memory_that_runs_out or other_instruction_sets
sanitize-address sanitize-thread: sanitize-%: $(VENV)/.installed
	mkdir -p build/$*
	tar --create --exclude='*.so' --exclude=__pycache__ \
		pyproject.toml setup.py README.md LICENSE bindings csrc docs engine encoders bench tests | tar --extract --directory build/$*
	cd build/$* && ENGINE_SANITIZE=$* ENGINE_BUILD_TYPE=RelWithDebInfo $(abspath $(PY)) setup.py --quiet build_ext --inplace
	cd build/$* && PYTHONPATH=. LD_PRELOAD="$(strip $(PRELOAD))" ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS="die_after_fork=0 log_path=report" OPENBLAS_NUM_THREADS=1 \
		$(abspath $(PY)) -m pytest $(CORE_TESTS) -k "not ($(SKIP))"

# The sdist, and the wheel built from it in isolation
package: $(VENV)/.installed
	$(PY) -m build --outdir dist

clean:
	rm -rf $(VENV) build dist *.egg-info engine/_core*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
