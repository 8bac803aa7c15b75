# Forwards every target and variable of the old Makefile: `make TARGET VAR=value` runs `cargo xtask make TARGET VAR=value`.
# Nothing is built here; `cargo xtask --help` lists the commands. Variables are passed in MAKEFLAGS, so no shell interprets them.

# The shell completes these targets after `make`. All other old targets work too.
.PHONY: help live live-raw live-qcow2 live-vdi live-gcp live-parallels rootfs rootfs-kvm rootfs-xen rootfs-acrn rootfstar config \
	installer installer-raw installer-iso installer-net verification verification-raw eve pkgs initrd kernel kernel-yml sbom \
	run run-live run-target run-installer-raw run-installer-iso run-installer-net run-verification-raw run-rootfs run-grub run-proxy \
	run-compose run-build-vm run-live-vb run-live-parallels run-live-gcp live-gcp-upload build-vm build-tools linuxkit gosources \
	version currentversion current clean test shell proto proto-vendor proto-diagram yetus release patch ssh-key cache-export \
	cache-export-docker-load cache-export-docker-load-all docker-old-images docker-image-clean collected_sources

goals := $(or $(MAKECMDGOALS),help)
first := $(firstword $(goals))
rest := $(filter-out $(first),$(goals))

.PHONY: $(goals)

quoted = '$(subst ','\'',$(1))'

# Shell completion calls `make .DEFAULT` to list the targets; then nothing must run.
ifneq ($(goals),.DEFAULT)
$(first):
	+@cargo xtask make --overrides $(foreach goal,$(goals),$(call quoted,$(goal)))
endif

ifneq ($(rest),)
$(rest): $(first)
	+@:
endif
