# What one does with the project: each target installs what it needs and leaves alone what is there.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
MAKEFLAGS   += --no-print-directory
export PATH := $(PATH):/usr/sbin:/sbin

PYTHON ?= python3
BIN    := .venv/bin
STAMP  := .venv/.installed-from-pyproject

# NEEDED:PACKAGE, where NEEDED is a command, a library (*.so.*) or a file, and PACKAGE is Debian's name for what brings it.
CHECK_NEEDS := python3:python3 ensurepip:python3-venv
RUN_NEEDS   := $(CHECK_NEEDS) clang:clang-19 /usr/include/linux/bpf.h:linux-libc-dev libbpf.so.1:libbpf1 ip:iproute2 ethtool:ethtool
TEST_NEEDS  := $(RUN_NEEDS) libbcc.so.0:libbpfcc /usr/include/bpf/bpf_helpers.h:libbpf-dev ping:iputils-ping tcpdump:tcpdump iperf3:iperf3 strace:strace setpriv:util-linux bpftool:bpftool
BENCH_NEEDS := $(RUN_NEEDS) libbcc.so.0:libbpfcc /usr/include/bpf/bpf_helpers.h:libbpf-dev
SOAK_NEEDS  := $(BENCH_NEEDS) iperf3:iperf3 strace:strace bpftool:bpftool

# Installs those of $(1) that are missing. Any clang is good enough; where there is none, Debian's newest is taken.
define install_missing
	missing=()
	for need in $(1); do
	    name=$${need%%:*} package=$${need#*:}
	    case $$name in
	        ensurepip) "$(PYTHON)" -c 'import ensurepip, venv' ;;
	        clang)     compgen -c clang | grep -qxE 'clang(-[0-9]+)?' ;;
	        *.so.*)    ldconfig -p | grep -qF "$$name" ;;
	        /*)        [[ -e $$name ]] ;;
	        *)         command -v "$$name" ;;
	    esac >/dev/null 2>&1 || missing+=("$$package")
	done
	(( $${#missing[@]} )) || exit 0
	if (( EUID != 0 )); then
	    echo "make: missing on this machine; as root: apt-get install -y $${missing[*]}" >&2
	    exit 1
	fi
	echo "installing Debian packages: $${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	log=$$(mktemp)
	trap 'rm -f "$$log"' EXIT
	quietly() { "$$@" >"$$log" 2>&1 || { cat "$$log" >&2; exit 1; }; }
	quietly apt-get update
	for i in "$${!missing[@]}"; do
	    if [[ $${missing[i]} == clang-* ]] && ! apt-cache show "$${missing[i]}" >/dev/null 2>&1; then missing[i]=clang; fi
	done
	quietly apt-get install -y --no-install-recommends "$${missing[@]}"
endef

.PHONY: help
help: ## list these targets
	@echo "make TARGET, where TARGET is one of"
	sed -nE 's/^([a-z]+):[^#]*## (.*)/  \1\t\2/p' Makefile | expand -t 12

.PHONY: demo
demo: run-needs $(STAMP) bpffs ## show it all on real packets, in under a minute (as root)
	@$(BIN)/python -m examples.demo

.PHONY: test
test: test-needs $(STAMP) bpffs ## run every test (as root: those that need the kernel too)
	@status=0
	echo "tests: text and clang, on all cores"
	$(BIN)/python -m pytest -m "not kernel" -n auto --dist worksteal || status=1
	echo "tests: kernel, one after another"
	$(BIN)/python -m pytest -m kernel || status=1
	exit $$status

.PHONY: check
check: check-needs $(STAMP) ## lint, formatting, types and import directions
	@status=0
	$(BIN)/ruff check || status=1
	$(BIN)/ruff format --check || status=1
	$(BIN)/mypy || status=1
	$(BIN)/lint-imports --no-logo --no-cache || status=1
	exit $$status

.PHONY: bench
bench: bench-needs $(STAMP) bpffs ## measure, beside the same written by hand (as root)
	@$(BIN)/python -m bench

.PHONY: soak
soak: soak-needs $(STAMP) bpffs ## run what swaps promise in full numbers, beside the bounds (as root)
	@$(BIN)/python -m soak

.PHONY: clean
clean: ## remove what the other targets made
	@rm -rf .venv build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment is made anew only when pyproject.toml changed.
$(STAMP): pyproject.toml | check-needs
	@echo "installing Python packages into .venv"
	[[ -x $(BIN)/python ]] || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[test,check]'
	touch $@

.PHONY: check-needs run-needs test-needs bench-needs soak-needs
check-needs:
	@$(call install_missing,$(CHECK_NEEDS))
run-needs:
	@$(call install_missing,$(RUN_NEEDS))
test-needs:
	@$(call install_missing,$(TEST_NEEDS))
bench-needs:
	@$(call install_missing,$(BENCH_NEEDS))
soak-needs:
	@$(call install_missing,$(SOAK_NEEDS))

# Pins live in bpffs, which systemd mounts and a container or a chroot does not. Where it may not be mounted, those who need it say so.
.PHONY: bpffs
bpffs:
	@if (( EUID == 0 )) && [[ $$(stat -f -c %T /sys/fs/bpf 2>/dev/null) != bpf_fs ]]; then mount -t bpf bpf /sys/fs/bpf || true; fi
