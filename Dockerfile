# Build:  docker build -t leakwatch .
#
# As a sidecar of one container, with the user and the group of its process (the kernel compares both before it
# shows smaps); group 0 opens the state directory:
#   docker run --pid=container:app --user "$(docker exec app id -u):$(docker exec app id -g)" --group-add 0 \
#     -v ./leakwatch.yaml:/etc/leakwatch/leakwatch.yaml:ro -v leakwatch:/var/lib/leakwatch leakwatch
# py-spy needs more where kernel.yama.ptrace_scope is not 0, and so does a target of another user. A capability
# reaches only root in a container, so give root nothing else:
#   docker run --pid=container:app --user 0 --cap-drop ALL --cap-add SYS_PTRACE ...
#
# For a whole host:
#   docker run --pid=host --user 0 --cap-drop ALL --cap-add SYS_PTRACE -v /sys/fs/cgroup:/sys/fs/cgroup:ro \
#     -v ./leakwatch.yaml:/etc/leakwatch/leakwatch.yaml:ro -v leakwatch:/var/lib/leakwatch leakwatch
# Add --cap-add DAC_READ_SEARCH for `port:` in a match and for counts of open descriptors.
#
# In a pod: shareProcessNamespace: true and the target's runAsUser and runAsGroup (fsGroup for the state's volume),
# or runAsUser: 0 with capabilities: {drop: [ALL], add: [SYS_PTRACE]}. No HEALTHCHECK here: the page is off unless
# the file turns it on; then probe GET /healthz.

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS builder
WORKDIR /src
RUN python -m venv /opt/leakwatch
COPY pyproject.toml README.md LICENSE ./
COPY agent ./agent
RUN /opt/leakwatch/bin/pip install --no-cache-dir --no-compile .

FROM python:${PYTHON_VERSION}-slim
# A fixed number, so that volumes keep their owner. Group 0 may write too: for root without capabilities, and for a
# target's own user that is given the group.
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin leakwatch \
 && install -d -o leakwatch -g root -m 0770 /var/lib/leakwatch
COPY --from=builder /opt/leakwatch /opt/leakwatch
ENV PATH=/opt/leakwatch/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STATE_DIRECTORY=/var/lib/leakwatch
VOLUME /var/lib/leakwatch
USER 10001:0
# Exec form: leakwatch itself is the container's first process and receives SIGTERM.
ENTRYPOINT ["leakwatch"]
CMD ["run", "--config", "/etc/leakwatch/leakwatch.yaml"]
