"""One name, one study; one study, one process that writes."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from own_specs import SEARCHED

from seg import data, pack
from seg.data import Dataset
from study.driver import session
from study.driver.plan import Plan
from study.driver.preparation import Prepared
from study.driver.session import StudyTaken
from study.lanes.resources import Allotment, Cluster, Machine
from study.spec import load_spec
from study.store import Store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    whole = data.load("phantom", Path("nowhere"))
    few = Dataset(whole.name, whole.samples[:10], whole.class_names, whole.remark, whole.synthetic)
    packed = pack.build(few, 32, tmp_path_factory.mktemp("packs"), progress=False)
    return Prepared(Path("nowhere"), None, packed, Cluster((Machine(2, 0),)), Allotment(1, 1, 0.0, 2))


@pytest.fixture(params=["folder", "s3://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "study"))
    request.getfixturevalue("s3_server")
    return Store(f"s3://studies/{uuid.uuid4().hex}")


def plan(store: Store, prepared: Prepared) -> Plan:
    return Plan("study", load_spec(SEARCHED), store, "python -m study.run phantom", prepared)


def test_of_those_who_take_a_name_at_once_one_has_it(store: Store, prepared: Prepared) -> None:
    """All with the same command, in the same second."""

    def begin(_: int) -> str:
        try:
            session.begin(plan(store, prepared), Store(store.uri))
        except StudyTaken as error:
            return str(error)
        return "taken"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(begin, range(6)))
    refused = f"{store.uri}: a study of this name was begun a moment ago; take another --name"
    assert sorted(answers) == sorted(["taken", *[refused] * 5])


def test_who_resumes_a_study_stops_the_process_that_still_runs_it(store: Store, prepared: Prepared) -> None:
    first, second = plan(store, prepared), plan(store, prepared)
    session.begin(first, store)
    session.check(first, store)
    created = store.read_json("study.json")["created"]
    session.go_on(second, store)
    session.check(second, store)
    assert store.read_json("study.json")["created"] == created
    with pytest.raises(StudyTaken, match="another process goes on with this study") as caught:
        session.check(first, store)
    assert "\n" not in str(caught.value)


def test_a_study_that_an_older_version_began_can_be_resumed(store: Store, prepared: Prepared) -> None:
    about = session.describe(plan(store, prepared), created="2026-11-01T00:00:00+00:00")
    del about["session"]
    store.write_json("study.json", about)
    resumed = plan(store, prepared)
    session.go_on(resumed, store)
    session.check(resumed, store)
    assert store.read_json("study.json")["created"] == "2026-11-01T00:00:00+00:00"
