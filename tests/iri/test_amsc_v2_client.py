"""Every operation of the published client `amsc-iri-v2`, unmodified, against a served site."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import time
from typing import Any

import pytest

amsc = pytest.importorskip("amsc_iri_v2", reason="the client amsc-iri-v2 is not installed")

OVER = ("completed", "failed", "canceled")


@pytest.fixture(scope="module")
def api(address: str) -> Any:
    return amsc.ApiClient(amsc.Configuration(host=address, access_token="alice-secret"))


def done(api: Any, submitted: Any) -> Any:
    """Return the task that an operation on files made, when it is over."""
    assert submitted.task_uri.endswith(f"/api/v2/task/{submitted.task_id}")
    for _ in range(200):
        task = amsc.TaskApi(api).get_task(submitted.task_id)
        if task.status.value in OVER:
            return task
        time.sleep(0.02)
    raise AssertionError(f"task {submitted.task_id} does not end")


def job_over(api: Any, job: str) -> Any:
    for _ in range(500):
        found = amsc.ComputeApi(api).get_job("cluster", job)
        if found.status.state.value in OVER:
            return found
        time.sleep(0.02)
    raise AssertionError(f"job {job} does not end")


def spec(executable: str = "/bin/sh", *arguments: str, name: str = "first") -> Any:
    return amsc.JobSpec(
        executable=executable,
        arguments=list(arguments),
        name=name,
        attributes=amsc.JobAttributes(duration=60, account="fusion", queue_name="debug"),
        resources=amsc.ResourceSpec(node_count=2),
    )


def test_facility(api: Any) -> None:
    facility = amsc.FacilityApi(api)
    found = facility.get_facility()
    assert found.name == "Example Laboratory"
    assert found.links["self"]["href"] == found.self_uri
    (site,) = facility.get_sites(name="us-site", short_name="us-site", offset=0, limit=5)
    assert site.self_uri in found.site_uris
    assert facility.get_site(site.id) == site
    assert facility.get_sites(name="another") == []


def test_status(api: Any) -> None:
    status = amsc.StatusApi(api)
    found: Any = []
    for _ in range(200):
        found = status.get_resources(resource_type="urn:doe-iri:resource:compute", current_status=amsc.Status.UP)
        if found:
            break
        time.sleep(0.05)
    assert [resource.id for resource in found] == ["cluster"]
    assert status.get_resource("cluster").name == "Cluster"
    counted = status.get_resources(capability=["urn:doe-iri:allocation:compute:node-hours"])
    assert [resource.id for resource in counted] == ["cluster"]
    (event,) = status.get_events_by_incident(resource_id="cluster", status=amsc.Status.UP)
    assert status.get_event_by_incident(event.id) == event
    assert status.get_incidents(resource_id="cluster") == []
    with pytest.raises(amsc.exceptions.NotFoundException):
        status.get_incident("none")


def test_account(api: Any) -> None:
    account = amsc.AccountApi(api)
    assert account.whoami().username == "alice"
    (project,) = account.get_projects()
    assert account.get_project(project.id) == project
    assert project.user_ids == ["alice", "bob"]
    capabilities = account.get_capabilities(name="node-hour")
    assert [account.get_capability(found.id) for found in capabilities] == capabilities
    allocations = account.get_project_allocations_by_project(project.id)
    hours = next(found for found in allocations if found.capability_uri == capabilities[0].self_uri)
    assert account.get_project_allocation_by_project(project.id, hours.id).entries[0].allocation == 100
    (mine,) = account.get_user_allocations_by_project_allocation(project.id, hours.id)
    assert account.get_user_allocation_by_project_allocation(project.id, hours.id, mine.id).user_id == "alice"


def test_compute(api: Any) -> None:
    compute = amsc.ComputeApi(api)
    assert [resource.id for resource in compute.get_compute_resources()] == ["cluster"]
    key = "11111111-2222-4333-8444-555555555555"
    job = compute.launch_job("cluster", spec("/bin/sh", "-c", "exit 3"), idempotency_key=key)
    assert compute.launch_job("cluster", spec("/bin/sh", "-c", "exit 3"), idempotency_key=key).id == job.id
    over = job_over(api, job.id)
    assert (over.status.state.value, over.status.exit_code) == ("failed", 3)
    shown = compute.get_job("cluster", job.id, historical=True, include_spec=True)
    assert shown.job_spec.arguments == ["-c", "exit 3"]

    long = compute.launch_job("cluster", spec("/bin/sleep", "60"))
    renamed = compute.update_job("cluster", long.id, spec("/bin/sleep", "60", name="second"))
    assert renamed.job_spec.name == "second"
    assert [found.id for found in compute.get_jobs("cluster", request_body={"name": "second"})] == [long.id]
    compute.cancel_job("cluster", long.id)
    assert job_over(api, long.id).status.state.value == "canceled"
    every = compute.get_jobs("cluster", offset=0, limit=10, historical=True, include_spec=True)
    assert {found.id for found in every} >= {job.id, long.id}


def test_storage(api: Any) -> None:
    storage = amsc.StorageApi(api)
    (location,) = storage.get_storage_locations("files", project="fusion", intent=amsc.StorageIntent.WRITE)
    assert location.access.write
    assert storage.get_storage_access_endpoints("files", protocol=amsc.AccessProtocol.S3) == []


def test_filesystem_and_task(api: Any) -> None:
    files, tasks = amsc.FilesystemApi(api), amsc.TaskApi(api)
    assert [resource.id for resource in files.get_filesystem_resources()] == ["files"]
    steps = [
        lambda: files.mkdir("files", amsc.PostMakeDirRequest(path="/a")),
        lambda: files.upload("files", "/a/one.txt", ("one.txt", b"one\ntwo\n")),
        lambda: files.ls("files", amsc.PostLsRequest(path="/a")),
        lambda: files.head("files", amsc.PostHeadRequest(path="/a/one.txt", lines=1)),
        lambda: files.tail("files", amsc.PostTailRequest(path="/a/one.txt", lines=1)),
        lambda: files.view("files", amsc.PostViewRequest(path="/a/one.txt", size=3, offset=0)),
        lambda: files.stat("files", amsc.PostStatRequest(path="/a/one.txt")),
        lambda: files.file("files", amsc.PostFileRequest(path="/a/one.txt")),
        lambda: files.checksum("files", amsc.PostChecksumRequest(path="/a/one.txt")),
        lambda: files.chmod("files", amsc.PutFileChmodRequest(path="/a/one.txt", mode="600")),
        lambda: files.cp("files", amsc.PostCopyRequest(path="/a/one.txt", target_path="/a/two.txt")),
        lambda: files.mv("files", amsc.PostMoveRequest(path="/a/two.txt", target_path="/a/three.txt")),
        lambda: files.symlink("files", amsc.PostFileSymlinkRequest(path="/a/one.txt", link_path="/a/link")),
        lambda: files.download("files", amsc.PostDownloadRequest(path="/a/one.txt")),
        lambda: files.compress("files", amsc.PostCompressRequest(path="/a", target_path="/a.tar.gz")),
        lambda: files.extract("files", amsc.PostExtractRequest(path="/a.tar.gz", target_path="/b")),
        lambda: files.rm("files", amsc.PostRmRequest(path="/b")),
    ]
    for number, step in enumerate(steps):
        task = done(api, step())
        assert task.status.value == "completed", (number, task)
    chown = files.chown("files", amsc.PutFileChownRequest(path="/a/one.txt", owner="", group=""))
    assert done(api, chown).status.value in ("completed", "failed")
    tasks.delete_task(chown.task_id)
    assert chown.task_id not in [task.id for task in tasks.get_tasks()]
