# Telegraf with keycheck. From the folder of this repository:
#
#   docker build --tag YOUR_REGISTRY/keycheck:0.1.0 .
#
# To pin the base by its content as well: --build-arg TELEGRAF_DIGEST=@sha256:...
ARG TELEGRAF_VERSION=1.39.3
ARG TELEGRAF_DIGEST=

FROM docker.io/library/telegraf:${TELEGRAF_VERSION}${TELEGRAF_DIGEST} AS build
# Debian keeps one version of a package a release, so a pinned one is gone with the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /build/
RUN python3 -m venv /opt/keycheck-venv \
 && /opt/keycheck-venv/bin/pip install --no-cache-dir --no-compile --require-hashes --requirement /build/requirements.txt \
 && /opt/keycheck-venv/bin/pip uninstall --yes pip setuptools
COPY keycheck /opt/keycheck
# The interpreter by its absolute path, and everything compiled: a read-only root can keep no bytecode.
RUN sed -i '1s|.*|#!/opt/keycheck-venv/bin/python|' /opt/keycheck/iam-accesskey-check.py \
 && chmod -R u=rwX,go=rX /opt/keycheck \
 && chmod 0755 /opt/keycheck/iam-accesskey-check.py \
 && /opt/keycheck-venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/keycheck /opt/keycheck-venv/lib

FROM docker.io/library/telegraf:${TELEGRAF_VERSION}${TELEGRAF_DIGEST}
ARG TELEGRAF_VERSION
ARG KEYCHECK_VERSION=0.1.0
LABEL org.opencontainers.image.title="keycheck" \
      org.opencontainers.image.description="Telegraf with keycheck, which keeps IAM access keys from going stale" \
      org.opencontainers.image.version="${KEYCHECK_VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/telegraf:${TELEGRAF_VERSION}"
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends procps python3 tini \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt /opt
COPY telegraf.conf /etc/telegraf/telegraf.conf
RUN mkdir -p /etc/keycheck && chmod 0755 /etc/telegraf /etc/keycheck && chmod 0644 /etc/telegraf/telegraf.conf \
 && install -d -m 0700 -o 10001 -g 10001 /var/cache/keycheck

# A number, since Kubernetes cannot tell that a name is not root. It writes to /tmp and to its cache alone.
USER 10001:10001
ENV HOME=/tmp AWS_CONFIG_FILE=/etc/keycheck/aws-config
# That Telegraf runs; Kubernetes has its own probes. That data comes is what the alerts on iam_run are for.
HEALTHCHECK --interval=60s --timeout=10s --start-period=30s CMD ["pgrep", "-x", "telegraf"]
# tini as PID 1 reaps what is orphaned, and passes SIGTERM on.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["telegraf", "--strict-env-handling", "--config", "/etc/telegraf/telegraf.conf"]
