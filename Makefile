# Each target alone works on a fresh machine with Python 3.11: it builds .venv first if that is missing or out of date.
PYTHON ?= python3.11
# More arguments for pip. On x86_64 Linux the default index serves a CUDA build of torch; for the small one, add
# PIP_ARGS="--extra-index-url <PyTorch's CPU wheels>".
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: install demo test check proofs benchmark clean
install: .venv/installed

# auto_LiRPA 0.3 comes in a second step without its dependencies: its metadata demands torch < 1.13 and torchvision < 0.14,
# while its code runs on current torch through lipverify's adapter. What it imports is in the extra `propagation`. So do
# onnx2torch, whose metadata demands torchvision (imported for two detection operators only; its other needs are the extra
# `onnx`), deel-torchlip and orthogonium, which the tests audit: both need nothing beyond torch and numpy; and adv-lib, whose
# metadata demands torchvision and visdom for what cpl does not use of it.
.venv/installed: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt --editable '.[sdp,propagation,fold,onnx,train,attacks,figures,dev]'
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --no-deps auto_LiRPA==0.3 deel-torchlip==1.0.5 orthogonium==0.0.4 \
	    onnx2torch==1.5.15 adv-lib==0.2.8
	touch $@

demo: install
	sh examples/demo.sh $(BIN)

test: install
	$(BIN)/python -m pytest -n 2

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

# The theory in Coq, what it assumes, and the checker extracted from it: build/lipverify-checker.
proofs:
	sh proofs/install_coq.sh
	$(MAKE) --no-print-directory -C proofs

benchmark: install
	$(BIN)/python benchmarks/norms.py

clean:
	rm -rf .venv build dist *.egg-info
