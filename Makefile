# `make run` and `make test` are the main targets; `make` alone lists all.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TRIPLE     := $(shell uname -m)-unknown-linux-gnu

# The image and the tests are built the same way, with the C library linked in: the tested code is the shipped code, and
# the dependencies are compiled once for both. `--target` keeps the flags away from build scripts and macros, which
# must stay dynamic.
STATIC := RUSTFLAGS="$(RUSTFLAGS) -C target-feature=+crt-static"
TARGET := --target $(TRIPLE)

# cargo-nextest gives every test a process and a deadline; plain `cargo test` runs the same tests.
TEST_RUNNER := $(if $(shell command -v cargo-nextest 2>/dev/null),nextest,test)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

.PHONY: run
run: ## build the release binary and serve on port 8443, without any configuration
	cargo run --locked --release -- serve --listen 0.0.0.0:8443

.PHONY: test
test: test-parts lint unit ## install the real clients that the tests need, then check and test everything

.PHONY: test-parts
test-parts: ## install missing entries of tests/packages.txt and tests/requirements.txt (as root)
	scripts/install-test-parts

.PHONY: lint
lint: ## formatting, clippy and documentation, warnings being errors
	cargo fmt --all --check
	$(STATIC) cargo clippy $(TARGET) --locked --workspace --features real-parts --all-targets -- -D warnings
	$(STATIC) RUSTDOCFLAGS="-D warnings" cargo doc $(TARGET) --locked --workspace --no-deps --document-private-items

.PHONY: unit
unit: ## unit and integration tests, without installing anything
	$(STATIC) RUSTDOCFLAGS="-C target-feature=+crt-static" scripts/run-tests $(TEST_RUNNER) $(TARGET) --locked --workspace --features real-parts

.PHONY: image
image: image-root ## build the container image `portcullis` from a static release binary
	docker build -t portcullis .

# The files that the Dockerfile copies. IMAGE_PROFILE=dev builds faster; IMAGE_BINARY=path uses an existing static
# binary.
IMAGE_PROFILE := release
IMAGE_ROOT    := target/image
PROFILE_DIR    = $(if $(filter dev,$(IMAGE_PROFILE)),debug,$(IMAGE_PROFILE))
IMAGE_BINARY   = $(TARGET_DIR)/$(TRIPLE)/$(PROFILE_DIR)/portcullis

.PHONY: image-root
image-root:
ifneq ($(origin IMAGE_BINARY),command line)
	$(STATIC) cargo build $(TARGET) --locked --profile $(IMAGE_PROFILE) --bin portcullis
endif
	mkdir -p $(IMAGE_ROOT)/data $(IMAGE_ROOT)/certs $(IMAGE_ROOT)/users
	cp $(IMAGE_BINARY) $(IMAGE_ROOT)/portcullis
	@if readelf --program-headers $(IMAGE_ROOT)/portcullis | grep -q INTERP; then \
		echo 'error: $(IMAGE_BINARY) needs shared libraries, which an image from scratch does not have' >&2; exit 1; fi

.PHONY: bench
bench: ## measure everything, beside nginx and docker-registry (installed as root if missing), and write the report
	scripts/install-packages benches/packages.txt
	cargo bench --locked -p portcullis

# Frame pointers in this project's code and that of dependencies, so that the kernel can read call stacks; a separate
# build.
.PHONY: profile
profile: ## draw flame graphs of pull and push into docs/benchmarks
	scripts/install-packages benches/packages.txt
	RUSTFLAGS="$(RUSTFLAGS) -C force-frame-pointers=yes" CFLAGS="$(CFLAGS) -fno-omit-frame-pointer" \
		cargo bench --locked -p portcullis --profile profiling --bench compare -- --flame-graphs

.PHONY: clean
clean: ## remove build results
	cargo clean
