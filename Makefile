# pgkeeper: every task has a target here; `make` alone prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# A plain user's PATH has no sbin on Debian (haproxy, ip), and a fresh machine may not have Go on it yet.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin

GO      ?= go
VERSION := $(shell cat VERSION)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)

# The product, the unit tests and the linter compile with the same settings, so that each package is compiled once:
# no cgo, and no paths of this machine in the binary (which also makes the build cache usable from another folder).
# Only -race needs cgo; the test runner switches it on for those parts.
export CGO_ENABLED ?= 0
override GOFLAGS := $(strip $(filter-out -trimpath,$(GOFLAGS)) -trimpath)
export GOFLAGS

# The modules of go.work. A pattern of packages such as ./... never crosses into another module.
MODULES := $(shell sed -n 's/^\t\(\..*\)/\1/p' go.work)

LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

##@ Use it

.PHONY: demo
demo: ## bring a cluster up, kill things, watch it heal (DEMO_FLAGS="--exit --replicas 3")
	@script/install-deps demo
	@$(MAKE) --no-print-directory build
	@bin/pgkeeper demo $(DEMO_FLAGS)

.PHONY: build
build: ## build the static binary bin/pgkeeper
	@mkdir -p bin
	$(GO) build -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/pgkeeper ./cmd/pgkeeper

.PHONY: image
image: build ## the container image pgkeeper:latest (IMAGE_BASE=pgkeeper-base:bookworm: without a registry, see deploy/base-image)
	@if [ '$(IMAGE_BASE)' = pgkeeper-base:bookworm ] && ! docker image inspect pgkeeper-base:bookworm >/dev/null 2>&1; then deploy/base-image; fi
	@: two files are all that goes to the engine, whatever builder there is
	tar -cf - deploy/Dockerfile script/install-deps bin/pgkeeper | docker build -q -f deploy/Dockerfile \
	  $(if $(IMAGE_BASE),--build-arg BASE=$(IMAGE_BASE)) -t $(or $(IMAGE),pgkeeper:latest) -

##@ Test it

.PHONY: test
test: ## everything CI runs: build, lint, unit, mutants, sim, integration, chaos (PARTS=unit,lint picks parts)
	@$(GO) run ./test/runner $(if $(PARTS),-parts $(PARTS))

.PHONY: smoke
smoke: ## build, short unit tests and one failover, as the user you are
	@$(GO) run ./test/runner -parts build,short,failover

.PHONY: unit
unit: ## unit, lifecycle and conformance tests, and the fuzz targets' seeds
	@$(GO) run ./test/runner -parts unit

.PHONY: integration
integration: ## tests on real PostgreSQL, etcd and HAProxy, with the race detector
	@$(GO) run ./test/runner -parts deps,build,integration

.PHONY: files
files: ## what deploy/ ships, read by its readers' own libraries (Kubernetes' API types, HCL, TOML)
	GOWORK=off $(GO) test -C test/render -vet=off -count=1 ./...

.PHONY: lint
lint: bin/tools/golangci-lint ## go vet, golangci-lint and the import rules between the rooms
	@bin/tools/golangci-lint run $(MODULES:%=%/...)

# The linter is pinned in tools/go.mod, a module of its own, so that its dependencies never reach the product's go.mod.
bin/tools/golangci-lint: tools/go.mod tools/go.sum
	@echo "building golangci-lint, once (two to four minutes on two cores)"
	@mkdir -p bin/tools
	GOWORK=off $(GO) build -C tools -buildvcs=false -ldflags '-s -w' -o ../bin/tools/golangci-lint \
	  github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME each (default 30s)
	@$(GO) run ./test/runner -parts fuzz -fuzztime $(or $(FUZZTIME),30s)

.PHONY: mutants
mutants: ## take every guard out, one at a time: a test must fail (ONLY='^wait_' SIM=1 WRITE=1 OPERANDS=1)
	@$(GO) run ./test/mutants $(if $(ONLY),-only '$(ONLY)') $(if $(SIM),-sim $(if $(SEEDS),-sim-seeds $(SEEDS))) $(if $(WRITE),-write) $(if $(OPERANDS),-parts)

.PHONY: cover
cover: ## coverage of the unit tests, per package, and coverage.html
	$(GO) test -coverprofile coverage.out -coverpkg work work
	$(GO) tool cover -html coverage.out -o coverage.html
	@$(GO) tool cover -func coverage.out | tail -n 1

.PHONY: sim
sim: ## SEEDS=50000 simulated schedules with fresh seeds (BASE=n repeats a run, SEED=n [KEEP=1,2] shows one)
	@SIM_SEEDS=$(if $(SEED),1,$(or $(SEEDS),50000)) SIM_BASE=$(or $(SEED),$(BASE),random) SIM_KEEP=$(KEEP) SIM_SHOW=$(SEED) GOGC=400 \
	  $(GO) test ./test/sim -run 'TestSeeds|TestOneSeed' -count=1 -timeout 24h -vet=off -v

.PHONY: chaos
chaos: ## real faults in namespaces, as root: MINUTES=6; SEED=n SCHEDULES=1 [KEEP=1] replays one; FAULTS="kill_guard loss_10_percent" MODES="gated quorum"
	@script/install-deps test
	CHAOS_MINUTES='$(MINUTES)' CHAOS_SEED='$(SEED)' CHAOS_SCHEDULES='$(SCHEDULES)' CHAOS_FAULTS='$(FAULTS)' CHAOS_MODES='$(MODES)' CHAOS_KEEP='$(KEEP)' \
	  $(GO) test -tags chaos ./test/chaos -v -count=1 -timeout 0

.PHONY: containers
containers: ## deploy/compose and deploy/swarm on a container engine: scaled, killed, made anew (a few minutes, as root)
	@$(GO) run ./test/runner -parts build,containers

##@ Measure it

.PHONY: bench
bench: ## unavailability of every failure; ROWS="switchover node_killed" TRIALS=10 PEER=patroni
	@script/install-deps bench
	@$(MAKE) --no-print-directory build
	BENCH_ROWS='$(ROWS)' BENCH_TRIALS='$(TRIALS)' BENCH_PEER='$(PEER)' \
	  $(GO) test -tags bench ./test/bench -run TestBench -v -count=1 -timeout 0

##@ Keep it

.PHONY: docs
docs: ## write the generated pages (configuration, metrics) from the code
	$(GO) generate ./...

.PHONY: fmt
fmt: bin/tools/golangci-lint ## format the Go code
	@bin/tools/golangci-lint fmt $(MODULES)

.PHONY: clean
clean: ## remove what was built
	rm -rf bin coverage.out coverage.html

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
