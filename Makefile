# Every target and variable of the old Makefile, forwarded: `make TARGET VAR=value` is `cargo xtask make TARGET VAR=value`.
# `cargo xtask --help` lists the commands; nothing is built here.

goals := $(or $(MAKECMDGOALS),help)
first := $(firstword $(goals))
rest := $(filter-out $(first),$(goals))

.PHONY: $(goals)

$(first):
	+@cargo xtask make $(goals) $(MAKEOVERRIDES)

ifneq ($(rest),)
$(rest): $(first)
	+@:
endif
