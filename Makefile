# Everything that a developer or a CI job types. `make help` lists it.

BUILD_PACKAGES := python3-venv git dpkg-dev debhelper dh-python lintian bubblewrap gpg gpg-agent \
	gpgv gpgconf openssh-client zstd make
SELF_PACKAGES := build-essential python3-all python3-setuptools python3-stdeb
TEST_PACKAGES := $(BUILD_PACKAGES) $(SELF_PACKAGES) apt-utils caddy chromium chromium-driver \
	debsig-verify iproute2 mmdebstrap nginx-light rclone rsync shellcheck strace systemd-container \
	util-linux
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E -H,)
# The Debian release to build for: this machine's, the name of another one, or all.
TARGET :=
ROOT_PACKAGES := $(if $(TARGET),mmdebstrap $(if $(SUDO),uidmap))
PYTHON := .venv/bin/python
# More files of tests at a time than cores: those of the system wait for services as well. In the
# order of their names, which has the short ones last.
PYTEST := $(PYTHON) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
DEBSTACK := .venv/bin/debstack

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

debs: .venv/.run samples ## Check the lock, build all packages, publish them; TARGET=all for each target.
	@scripts/need-packages $(BUILD_PACKAGES) $(ROOT_PACKAGES)
	@$(DEBSTACK) lock --check
	@$(DEBSTACK) build $(if $(TARGET),--target $(TARGET))
	@$(DEBSTACK) publish

refresh: .venv/.run ## Sign the channels in dist/apt anew where half of their validity is over.
	@scripts/need-packages $(BUILD_PACKAGES)
	@$(DEBSTACK) refresh

# With byte code of root's the user could not remove the checkout.
test: .venv/.test samples ## Run all tests; those of builds and of containers need root.
	@scripts/need-packages $(TEST_PACKAGES)
ifeq ($(SUDO),)
	$(PYTEST)
else
	$(PYTEST) tests/unit
	$(SUDO) env PYTHONDONTWRITEBYTECODE=1 $(PYTEST) tests/build tests/system
endif

check: .venv/.test ## Run what is quick: linters, types, unit tests.
	@scripts/need-packages $(TEST_PACKAGES)
	$(PYTEST) tests/unit

bench: .venv/.test samples ## Measure builds and publications, other tools beside ours.
	@scripts/need-packages $(TEST_PACKAGES) aptly dh-virtualenv reprepro time
	$(PYTHON) benchmarks/build.py
	$(PYTHON) benchmarks/archive.py

self-deb: .venv/.run ## Make debstack's own Debian package, in dist/self.
	@scripts/need-packages $(BUILD_PACKAGES) $(SELF_PACKAGES)
	@scripts/make-self-deb

samples: ## Make the git repositories of the sample applications.
	@scripts/make-samples

clean: ## Remove what was built; dist/, the keys in build/keys and the cache of wheels stay.
	rm -rf build/packages build/samples build/rebuild-* .venv

.venv/.run: pyproject.toml
	@scripts/need-packages $(BUILD_PACKAGES)
	@echo "installing debstack in .venv" >&2
	@/usr/bin/python3 -m venv .venv
	@.venv/bin/pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/.test: .venv/.run
	@.venv/bin/pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

.PHONY: help debs refresh test check bench self-deb samples clean
