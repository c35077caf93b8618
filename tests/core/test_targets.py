"""Which process belongs to which service, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.model import Process, ProcessKey
from agent.watch.naming import service_name
from agent.watch.options import DiscoverOptions, Match, WatchEntry
from agent.watch.targets import Facts, Selection, matches, select

MB = 1_000_000
DISCOVER = DiscoverOptions(enabled=True)
NO_DISCOVERY = DiscoverOptions(enabled=False)


def process(pid: int, *, parent: int = 1, start_ticks: int | None = None, **changes: Any) -> Process:
    known = Process(
        key=ProcessKey(pid, pid if start_ticks is None else start_ticks, "b00t1d00"),
        name="python3",
        command="python3 /srv/api.py",
        exe="/usr/bin/python3.11",
        user="www",
        parent_pid=parent,
        cgroup="/",
        started_t_s=1.0,
        runtime="python",
    )
    return replace(known, **changes)


def entry(service: str, *, children: bool = False, **match: Any) -> WatchEntry:
    return WatchEntry(service, Match(**match), children=children)


def taken(selection: Selection) -> list[tuple[str, int]]:
    return [(target.service, target.process.key.pid) for target in selection.targets]


API = process(
    7,
    exe="/usr/bin/node",
    name="MainThread",
    command="node server.js",
    user="api",
    cgroup="/system.slice/api.service/worker",
)
API_FACTS = Facts(
    arguments={API.key: ("/usr/local/bin/nodejs", "server.js", "--tenant", "acme")},
    uids={API.key: 1007},
    ports={7: frozenset({8080, 9090})},
    pidfiles={"/run/api.pid": 7, "/run/other.pid": 8},
    real_paths={"/usr/local/bin/node": "/usr/bin/node"},
)


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"pid": 7}, True),
        ({"pid": 70}, False),
        ({"pidfile": "/run/api.pid"}, True),
        ({"pidfile": "/run/other.pid"}, False),
        ({"pidfile": "/run/missing.pid"}, False),
        ({"exe": "node"}, True),
        ({"exe": "nodejs"}, True),
        ({"exe": "MainThread"}, True),
        ({"exe": "nod"}, False),
        ({"exe": "/usr/bin/node"}, True),
        ({"exe": "/usr/local/bin/node"}, True),
        ({"exe": "/usr/bin/nodejs"}, False),
        ({"command": r"server\.js\b"}, True),
        ({"command": r"--tenant acme$"}, True),
        ({"command": r"^server"}, False),
        ({"user": "api"}, True),
        ({"user": "1007"}, True),
        ({"user": "root"}, False),
        ({"unit": "api.service"}, True),
        ({"unit": "api"}, True),
        ({"unit": "a*.service"}, True),
        ({"unit": "system.slice"}, True),
        ({"unit": "pi.service"}, False),
        ({"cgroup": "/system.slice/api.service"}, True),
        ({"cgroup": "/system.slice/"}, True),
        ({"cgroup": "/system.slice/a*"}, True),
        ({"cgroup": "*/worker"}, True),
        ({"cgroup": "/system.slice/ap"}, False),
        ({"port": 8080}, True),
        ({"port": 80}, False),
        ({"exe": "node", "port": 8080, "user": "api"}, True),
        ({"exe": "node", "port": 80}, False),
        ({}, False),
    ],
    ids=str,
)
def test_every_key_that_is_given_must_hold(match: dict[str, Any], *, expected: bool) -> None:
    assert matches(API, Match(**match), API_FACTS) is expected


def test_where_the_executable_is_denied_the_command_stands_for_it() -> None:
    denied = replace(API, exe="", name="node", runtime="unknown")

    assert matches(denied, Match(exe="/usr/local/bin/nodejs"), API_FACTS)
    assert not matches(denied, Match(exe="/usr/bin/node"), API_FACTS)


def test_a_name_that_the_kernel_has_cut_is_still_matched() -> None:
    cut = replace(API, exe="", name="very-long-daemo")

    assert matches(cut, Match(exe="very-long-daemon-name"), Facts())
    assert not matches(cut, Match(exe="very-long"), Facts())


def test_the_first_entry_that_matches_takes_a_process() -> None:
    entries = [entry("first", exe="python3"), entry("second", command="api")]

    assert taken(select([process(5)], entries, NO_DISCOVERY, Facts())) == [("first", 5)]


def test_a_target_carries_its_entry_and_its_labels() -> None:
    wanted = WatchEntry("api", Match(pid=5), labels={"team": "core"})
    (target,) = select([process(5)], [wanted], NO_DISCOVERY, Facts()).targets

    assert (target.entry, target.labels) == (wanted, {"team": "core"})


FAMILY = [
    process(10, name="supervisor"),
    process(11, parent=10, name="gunicorn"),
    process(12, parent=11, name="worker"),
    process(13, parent=11, name="worker"),
    process(14, parent=10, name="celery"),
    process(15, parent=1, name="stranger"),
]


def test_children_are_all_descendants() -> None:
    entries = [entry("web", pid=10, children=True)]
    found = taken(select(FAMILY, entries, NO_DISCOVERY, Facts()))

    assert found == [("web", pid) for pid in (10, 11, 12, 13, 14)]


def test_without_children_only_the_process_itself_is_taken() -> None:
    assert taken(select(FAMILY, [entry("web", pid=10)], NO_DISCOVERY, Facts())) == [("web", 10)]


def test_a_child_that_another_entry_matches_belongs_to_that_entry() -> None:
    entries = [entry("all", pid=10, children=True), entry("jobs", exe="celery")]
    found = taken(select(FAMILY, entries, NO_DISCOVERY, Facts()))

    assert ("jobs", 14) in found
    assert ("all", 14) not in found


def test_a_child_follows_the_nearest_ancestor_that_takes_children() -> None:
    entries = [entry("all", pid=10, children=True), entry("web", exe="gunicorn", children=True)]
    found = taken(select(FAMILY, entries, NO_DISCOVERY, Facts()))

    assert found == [("all", 10), ("all", 14), ("web", 11), ("web", 12), ("web", 13)]


def test_a_parent_younger_than_its_child_is_another_process_with_a_used_pid() -> None:
    orphan = process(20, parent=10, start_ticks=5)
    entries = [entry("web", pid=10, children=True)]

    assert taken(select([process(10, start_ticks=900), orphan], entries, NO_DISCOVERY, Facts())) == [
        ("web", 10)
    ]


def test_parents_in_a_circle_end_the_search() -> None:
    circle = [process(30, parent=31, start_ticks=1), process(31, parent=30, start_ticks=1), process(32)]

    assert taken(select(circle, [entry("web", pid=32, children=True)], NO_DISCOVERY, Facts())) == [
        ("web", 32)
    ]


def rss(**sizes_mb: int) -> dict[ProcessKey, int]:
    return {process(int(name[1:])).key: size * MB for name, size in sizes_mb.items()}


@pytest.mark.parametrize(
    ("enabled", "entries", "found"),
    [
        (None, [], [("api", 5)]),
        (None, [entry("other", pid=99)], []),
        (True, [entry("other", pid=99)], [("api", 5)]),
        (False, [], []),
    ],
    ids=["nothing configured", "entries", "asked for beside entries", "off"],
)
def test_discovery_is_on_when_asked_for_or_nothing_is_configured(
    enabled: bool | None,  # noqa: FBT001 - a column of the table
    entries: list[WatchEntry],
    found: list[tuple[str, int]],
) -> None:
    facts = Facts(rss_bytes=rss(p5=60), arguments={process(5).key: ("python3", "/srv/api.py")})

    assert taken(select([process(5)], entries, DiscoverOptions(enabled=enabled), facts)) == found


def test_the_largest_are_discovered_first_and_the_rest_is_counted() -> None:
    everyone = [process(pid) for pid in (5, 6, 7, 8)]
    facts = Facts(rss_bytes=rss(p5=60, p6=900, p7=300, p8=10))
    selection = select(everyone, [], DiscoverOptions(max_processes=2), facts)

    assert [pid for _, pid in taken(selection)] == [6, 7]
    assert selection.dropped == 1


def test_what_is_watched_keeps_its_place_though_it_shrinks_and_others_grow() -> None:
    everyone = [process(pid) for pid in (5, 6, 7)]
    facts = Facts(rss_bytes=rss(p5=49, p6=900, p7=800), watched=frozenset({process(5).key}))
    selection = select(everyone, [], DiscoverOptions(max_processes=2), facts)

    assert [pid for _, pid in taken(selection)] == [5, 6]
    assert selection.dropped == 1


def test_a_used_pid_does_not_inherit_the_place() -> None:
    facts = Facts(rss_bytes=rss(p5=49), watched=frozenset({process(5, start_ticks=1).key}))

    assert taken(select([process(5)], [], DISCOVER, facts)) == []


def test_discovery_leaves_ourselves_and_taken_processes_alone() -> None:
    everyone = [process(5), process(6), process(7)]
    facts = Facts(own_pid=5, rss_bytes=rss(p5=60, p6=60, p7=60))
    selection = select(everyone, [entry("web", pid=6)], DISCOVER, facts)

    assert [(t.process.key.pid, t.entry is None) for t in selection.targets] == [(6, False), (7, True)]


@pytest.mark.parametrize(
    ("changes", "arguments", "name"),
    [
        ({"cgroup": "/system.slice/api.service"}, "python3 /srv/x.py", "api"),
        ({"cgroup": "/system.slice/api.service/worker"}, "python3 /srv/x.py", "api"),
        ({"cgroup": "/system.slice/gunicorn@shop.service"}, "python3 /srv/x.py", "gunicorn@shop"),
        ({"cgroup": "/user.slice/user-1.slice/user@1.service/app.slice/notes.service"}, "x", "notes"),
        ({"cgroup": "/user.slice/user-1.slice/user@1.service/init.scope"}, "python3 /srv/w.py", "w"),
        ({"cgroup": "/user.slice/user-1.slice/session-3.scope"}, "python3 /srv/w.py", "w"),
        ({"cgroup": "/init.scope"}, "python3 /srv/w.py", "w"),
        ({"cgroup": "/system.slice/cron.service"}, "python3 /srv/nightly.py", "nightly"),
        ({"cgroup": "/system.slice/docker-4f5e.scope"}, "python3 /srv/w.py", "w"),
        ({}, "python /srv/api/worker.py --queue high", "worker"),
        ({}, "python -m foo.bar", "foo.bar"),
        ({}, "python -um foo.bar", "foo.bar"),
        ({}, "python -mfoo.bar", "foo.bar"),
        ({}, "python -W ignore -X dev -B worker.py", "worker"),
        ({}, "python -Wignore worker.py", "worker"),
        ({}, "python /srv/shop/__main__.py", "shop"),
        ({}, "python3 /venv/bin/celery worker", "celery"),
        ({}, "python -c pass", "python3"),
        ({}, "python", "python3"),
        ({"name": "gunicorn"}, "gunicorn:_worker_[api]", "gunicorn"),
        ({"runtime": "node"}, "node server.js", "server"),
        ({"runtime": "node"}, "node --max-old-space-size=512 -r ./trace.js /srv/shop/dist/index.js", "shop"),
        ({"runtime": "node"}, "node index.js", "index"),
        ({"runtime": "node"}, "node -e 1", "node"),
        ({"runtime": "jvm"}, "java -Xmx1g -jar /srv/x.jar --port 80", "x"),
        ({"runtime": "jvm"}, "java -jar shop-api-1.4.2-SNAPSHOT.jar", "shop-api"),
        ({"runtime": "jvm"}, "java -cp a.jar:b.jar -Dx=y com.acme.Main go", "com.acme.Main"),
        ({"runtime": "jvm"}, "java -p mods -m com.acme/com.acme.Main", "com.acme/com.acme.Main"),
        ({"runtime": "jvm", "name": "java"}, "java -version", "java"),
        ({"runtime": "native"}, "/usr/bin/ruby /srv/jobs.rb", "jobs"),
        ({"runtime": "native"}, "bash -c true", "python3"),
        ({"runtime": "native", "name": "nginx"}, "nginx: master", "nginx"),
        (
            {"runtime": "native", "name": "very-long-daemo", "exe": "/x/very-long-daemon"},
            "x",
            "very-long-daemon",
        ),
        ({"runtime": "unknown", "name": "", "exe": ""}, "", "pid-5"),
    ],
    ids=str,
)
def test_a_discovered_service_has_the_name_a_person_would_give_it(
    changes: dict[str, Any], arguments: str, name: str
) -> None:
    assert service_name(process(5, **changes), [a.replace("_[", " [") for a in arguments.split()]) == name
