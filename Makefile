# Every target and variable of the old Makefile, forwarded: `make TARGET VAR=value` is `cargo xtask make TARGET VAR=value`.
# `cargo xtask --help` lists the commands; nothing is built here. Variables go by way of MAKEFLAGS, so that no shell reads them.

# The shell completes these words after `make`; any other old word works too.
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

# A shell that completes asks for the goal .DEFAULT, and wants nothing done.
ifneq ($(goals),.DEFAULT)
$(first):
	+@cargo xtask make --overrides $(foreach goal,$(goals),$(call quoted,$(goal)))
endif

ifneq ($(rest),)
$(rest): $(first)
	+@:
endif
