# `make` lists what there is. Everything real is in deploy/, as Python.

NODES ?= 3
PYTEST_ARGS ?=
WORKERS ?= 2
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help install up down kubeconfig images test lint generate lock bench logs docker venv tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: docker venv images ## a running cluster, from nothing if need be; NODES=5 for more nodes than 3
	@$(PYTHON) -m deploy.cluster up --nodes $(NODES)

down: docker venv ## remove the cluster: containers, volumes, networks, kubeconfig context
	@$(PYTHON) -m deploy.cluster down

test: docker venv images tools ## all tests: unit, integration (etcd, Docker), cluster; PYTEST_ARGS="-k dns" chooses
	@PATH="$(CURDIR)/.build/bin:$$PATH:/usr/sbin:/sbin" $(PYTHON) -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS) tests

lint: venv ## ruff, mypy --strict, import-linter
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

generate: venv ## api/types from OPENAPI=path of Kubernetes' OpenAPI document, and the gRPC stubs
	@test -n "$(OPENAPI)" || { echo "make generate: which document? make generate OPENAPI=kubernetes-v1.36.json"; exit 2; }
	@$(PYTHON) -m api.generate "$(OPENAPI)"
	@$(PYTHON) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. proto/*.proto

images: docker venv ## build what is not current of all images, the examples' included
	@$(PYTHON) -m deploy.images

bench: up ## run the programs in bench/ against the cluster
	@for program in cluster_start pods node runtime scheduler managed_fields apiserver hollow; do \
		$(PYTHON) -m bench.$$program || exit 1; done

lock: venv ## resolve pyproject.toml's dependencies into the lock files
	@$(PYTHON) -m deploy.lock

kubeconfig: venv ## put a cluster started by plain `docker compose up` into the kubeconfig
	@$(PYTHON) -m deploy.cluster kubeconfig

logs: ## follow the logs of the whole cluster
	@docker compose logs --follow --tail 20

docker:
	@python3 -m deploy.install docker

tools: docker venv images
	@python3 -m deploy.install tests
	@$(PYTHON) -m deploy.images --take-etcd .build/bin/etcd

venv:
	@python3 -m deploy.install venv

install: docker venv ## Docker and the virtual environment, if missing
