# SPDX-License-Identifier: BSD-2-Clause
# Works with GNU make and with bmake. It only names `cargo xtask` commands;
# `cargo xtask help` lists them all with their options.

XTASK=	cargo xtask

all: build

# Find or install what the build and the tests need.
setup:
	$(XTASK) setup

# Build target/weft/weft.ko and hold it against check-ko.
build:
	$(XTASK) build

# Put the module, headers, manual pages and examples in place, or take them away.
# DESTDIR is the root of the system they are for; the others are paths in there.
DESTDIR?=
PREFIX?=	/usr/local
KMODDIR?=	/boot/modules
PLACES=	--destdir "$(DESTDIR)" --prefix "$(PREFIX)" --kmoddir "$(KMODDIR)"
install:
	$(XTASK) install $(PLACES)

uninstall:
	$(XTASK) uninstall $(PLACES)

# See the module at work: here on FreeBSD, else in a virtual machine, else the
# same engine in a simulation.
run:
	$(XTASK) run

# Everything that can be checked on this machine.
test:
	$(XTASK) test

# The tests in virtual machines only.
vm:
	$(XTASK) vm

# Run every benchmark and write target/report/index.html; with BASE=<revision>
# tell what moved since that one.
BASE?=
bench:
	$(XTASK) bench $(BASE:%=--base %)

# Race the route tables against their peers, natively; see docs/benchmarks.md.
bench-fib:
	$(XTASK) bench-fib

# Race the packet pools likewise.
bench-packet:
	$(XTASK) bench-packet

# Race the transmit queues likewise.
bench-queue:
	$(XTASK) bench-queue

# Race checksums, the parser and segmentation likewise.
bench-wire:
	$(XTASK) bench-wire

# Measure wpair beside if_epair, in virtual machines.
bench-pair:
	$(XTASK) vm --filter race-pair

clean:
	cargo clean

.PHONY: all setup build install uninstall run test vm bench bench-fib bench-packet bench-queue bench-wire bench-pair clean
