# Holdline. `make run` shows it at work, `make check` tests it; both install what is missing.
#
#   make            the binaries, in build/
#   make check      everything that must hold: layers, unit tests, protocol tests, real servers and clients
#   make lint       clang-format, clang-tidy, cppcheck, layers
#   make asan       the binaries and all tests under AddressSanitizer and UBSan
#   make fuzz       each fuzz target for FUZZ_SECONDS
#   make bench-bosh the budgets of docs/benchmarks.md; bench-ws: those of WebSocket
#   make install    DESTDIR and prefix as usual; make uninstall
#   make deps       the Debian packages that are missing

B ?= build
V ?=
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))
prefix ?= /usr/local
sbindir ?= $(prefix)/sbin
bindir ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec/holdline
sysconfdir ?= /etc
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/holdline
unitdir ?= /lib/systemd/system
sysusersdir ?= /usr/lib/sysusers.d
tmpfilesdir ?= /usr/lib/tmpfiles.d
FUZZ_SECONDS ?= 30
CHECK_JOBS ?= 4
PYTHON ?= /usr/bin/python3

VERSION := 0.1.0
PKGS := libmicrohttpd expat gnutls libcares yaml-0.1 zlib libidn2 jansson libseccomp
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wpointer-arith -Wsign-compare \
        -Wformat=2 -Wundef
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
OPT ?= -O2 -g
CFLAGS_ALL = -std=c11 $(OPT) $(WARN) $(WERROR) $(HARDEN) -D_GNU_SOURCE -DHOLDLINE_VERSION='"$(VERSION)"' \
        -DHOLDLINE_LIBEXEC='"$(libexecdir)"' -DHOLDLINE_SYSCONF='"$(sysconfdir)/holdline"' \
        -include common/poison.h -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)
LIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lev -lunistring -lm

BINS := holdline holdlinectl holdline-bosh holdline-bridge holdline-connector holdline-status
ROOMS := common bosh connector status bridge init
DIR_common := common
DIR_bosh := cm/bosh
DIR_connector := cm/connector
DIR_status := cm/status
DIR_bridge := bridge
DIR_init := init
MAINS := cm/bosh/main.c cm/connector/main.c cm/status/main.c bridge/main.c init/supervise.c init/ctl.c

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
sources = $(filter-out $(MAINS),$(wildcard $(DIR_$(1))/*.c))

.PHONY: FORCE all check unit lint format layers asan fuzz fuzz-run bench bench-bosh install uninstall run deps clean man
.SECONDARY:
all: $(addprefix $(B)/,$(BINS))

# Where they will be installed is built into these; they are made again when it changes (make, then make install prefix=/usr).
PATHS := $(libexecdir) $(sysconfdir) $(VERSION)
$(B)/paths: FORCE
	@mkdir -p $(@D); echo '$(PATHS)' | cmp -s - $@ || echo '$(PATHS)' >$@
$(addprefix $(B)/obj/,init/supervise.o init/options.o init/ctl.o cm/status/report.o): $(B)/paths
FORCE:

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define ROOM_RULE
$(B)/lib$(1).a: $(call obj,$(call sources,$(1)))
	@mkdir -p $$(@D); rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call ROOM_RULE,$(r))))

define BIN_RULE
$(B)/$(1): $(call obj,$(2)) $(B)/lib$(3).a $(B)/libcommon.a
	$$(call say,LINK,$$@)
	$$(Q)$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS)
endef
$(eval $(call BIN_RULE,holdline,init/supervise.c,init))
$(eval $(call BIN_RULE,holdlinectl,init/ctl.c,init))
$(eval $(call BIN_RULE,holdline-bosh,cm/bosh/main.c,bosh))
$(eval $(call BIN_RULE,holdline-connector,cm/connector/main.c,connector))
$(eval $(call BIN_RULE,holdline-status,cm/status/main.c,status))
$(eval $(call BIN_RULE,holdline-bridge,bridge/main.c,bridge))

# ---- unit tests: tests/unit/<room>/test_*.c, each a program of its own ----
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SRC))
$(B)/unit/%: tests/unit/%.c $(foreach r,$(ROOMS),$(B)/lib$(r).a)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -MMD -MP -MF $@.d -o $@ $< $(B)/lib$(firstword $(subst /, ,$*)).a $(B)/libcommon.a $(LIBS) -lcmocka

unit: $(UNIT_BIN)
	$(PYTHON) tests/check.py --build $(B) --only unit

# ---- everything ----
check: deps
	$(MAKE) WERROR=-Werror all bench-tools $(UNIT_BIN) B=$(B)
	$(PYTHON) tests/check.py --build $(B) --jobs $(CHECK_JOBS)

layers:
	$(PYTHON) tests/layers.py

SRC_ALL = $(shell git ls-files '*.c' '*.h' 2>/dev/null)
# No optimisation: with _FORTIFY_SOURCE the library's macros meet our poisoned names.
LINT_FLAGS = -std=c11 $(WARN) -D_GNU_SOURCE -DHOLDLINE_VERSION=\"$(VERSION)\" -DHOLDLINE_LIBEXEC=\"$(libexecdir)\" \
        -DHOLDLINE_SYSCONF=\"$(sysconfdir)/holdline\" -include common/poison.h -I. $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
lint: layers
	clang-format --dry-run --Werror $(SRC_ALL)
	$(PYTHON) tests/shape.py
	printf '%s\n' $(filter %.c,$(filter-out tests/%,$(SRC_ALL))) | xargs -n 6 -P 2 sh -c \
	    'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- $(LINT_FLAGS) || exit 255' _
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability -I. \
	    --suppress=missingIncludeSystem --suppress=preprocessorErrorDirective --suppress=unknownMacro common cm bridge init

format:
	clang-format -i $(SRC_ALL)

SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
asan:
	$(MAKE) B=$(B)/asan OPT="-O1 -g $(SAN)" HARDEN="-fPIE" LDFLAGS="$(SAN)" all bench-tools \
	    $(patsubst $(B)/%,$(B)/asan/%,$(UNIT_BIN))
	$(PYTHON) tests/check.py --build $(B)/asan --jobs $(CHECK_JOBS) --sanitized

FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))
$(B)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(foreach r,common bosh connector bridge,$(B)/lib$(r).a)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer $(LDFLAGS_ALL) -o $@ $< $(B)/libbosh.a $(B)/libconnector.a $(B)/libbridge.a $(B)/libcommon.a $(LIBS)
fuzz-run: $(FUZZ_BIN)
	$(PYTHON) tests/fuzz/run.py --build $(B)/fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_BIN)
fuzz:
	$(MAKE) B=$(B)/fuzzing CC=clang OPT="-O1 -g -fsanitize=fuzzer-no-link,address,undefined" HARDEN=-fPIE \
	    LDFLAGS="-fsanitize=address,undefined" fuzz-run

# ---- benchmarks ----
BENCH_BIN := $(addprefix $(B)/bench/,bosh_load ws_load stub_upstream)
BENCH_OBJ := $(call obj,$(wildcard tests/bench/bench_*.c))
.PHONY: bench-tools bench-ws
bench-tools: $(BENCH_BIN)
$(B)/bench/libbench.a: $(BENCH_OBJ)
	@mkdir -p $(@D); rm -f $@
	$(Q)ar rcs $@ $^
$(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/bench/libbench.a
	$(call say,BENCH,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ -lev -lm -lgnutls
bench: bench-bosh bench-ws
bench-bosh bench-ws: bench-%: all bench-tools
	$(PYTHON) tests/bench/bench_$*.py --build $(B) $(BENCH_ARGS)

# Long: 5000 WebSocket connections, a fifth of them hostile.
.PHONY: soak
soak: all
	HOLDLINE_SOAK=1 HOLDLINE_BIN=$(abspath $(B))/holdline $(PYTHON) -m pytest -q -p no:cacheprovider tests/e2e/test_ws_crowd.py

run:
	B=$(B) MAKE="$(MAKE)" init/demo.sh

deps:
	@init/deps.sh all

man: $(B)/holdline
	@mkdir -p $(B)/man
	$(PYTHON) docs/man/build.py --build $(B) --sysconf $(sysconfdir)/holdline

install: all man
	install -d $(DESTDIR)$(sbindir) $(DESTDIR)$(bindir) $(DESTDIR)$(libexecdir) $(DESTDIR)$(sysconfdir)/holdline \
	    $(DESTDIR)$(mandir)/man5 $(DESTDIR)$(mandir)/man8 $(DESTDIR)$(docdir) $(DESTDIR)$(unitdir) \
	    $(DESTDIR)$(sysusersdir) $(DESTDIR)$(tmpfilesdir)
	install -m 755 $(B)/holdline $(DESTDIR)$(sbindir)/holdline
	install -m 755 $(B)/holdlinectl $(DESTDIR)$(bindir)/holdlinectl
	install -m 755 $(addprefix $(B)/,$(filter holdline-%,$(BINS))) $(DESTDIR)$(libexecdir)/
	[ -e $(DESTDIR)$(sysconfdir)/holdline/holdline.yaml ] || \
	    install -m 644 conf/holdline.yaml $(DESTDIR)$(sysconfdir)/holdline/holdline.yaml
	install -m 644 $(B)/man/*.5 $(DESTDIR)$(mandir)/man5/
	install -m 644 $(B)/man/*.8 $(DESTDIR)$(mandir)/man8/
	install -m 644 README.md LICENSE $(wildcard docs/*.md) $(DESTDIR)$(docdir)/
	sed 's|@sbindir@|$(sbindir)|' init/holdline.service.in >$(DESTDIR)$(unitdir)/holdline.service
	install -m 644 init/holdline.sysusers $(DESTDIR)$(sysusersdir)/holdline.conf
	install -m 644 init/holdline.tmpfiles $(DESTDIR)$(tmpfilesdir)/holdline.conf

uninstall:
	rm -f $(DESTDIR)$(sbindir)/holdline $(DESTDIR)$(bindir)/holdlinectl
	rm -f $(addprefix $(DESTDIR)$(libexecdir)/,$(filter holdline-%,$(BINS)))
	-rmdir $(DESTDIR)$(libexecdir)
	rm -f $(DESTDIR)$(mandir)/man5/holdline.yaml.5 $(DESTDIR)$(mandir)/man8/holdline.8 $(DESTDIR)$(mandir)/man8/holdlinectl.8
	rm -rf $(DESTDIR)$(docdir)
	rm -f $(DESTDIR)$(unitdir)/holdline.service $(DESTDIR)$(sysusersdir)/holdline.conf $(DESTDIR)$(tmpfilesdir)/holdline.conf

clean:
	rm -rf $(B)

-include $(shell find $(B)/obj $(B)/unit -name '*.d' 2>/dev/null)
