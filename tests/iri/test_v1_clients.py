"""Facility, status, account and compute of the published version 1 clients, unmodified, against a served site."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import time
from typing import Any

import pytest


@pytest.fixture(scope="module", params=["nersc_iri", "amsc_iri"])
def package(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param, reason=f"the client {request.param} is not installed")


@pytest.fixture(scope="module")
def api(package: Any, address: str) -> Any:
    return package.ApiClient(package.Configuration(host=address, access_token="alice-secret"))


def test_facility(package: Any, api: Any) -> None:
    facility = package.FacilityApi(api)
    assert facility.get_facility().short_name == "EL"
    (site,) = facility.get_sites(name="us-site")
    assert facility.get_site(site.id) == site


def test_status(package: Any, api: Any) -> None:
    status = package.StatusApi(api)
    (resource,) = status.get_resources(resource_type=package.ResourceType.COMPUTE, capability=["node_hours"])
    assert status.get_resource(resource.id).name == "Cluster"
    assert status.get_resources(resource_type=package.ResourceType.NETWORK) == []
    events: Any = []
    for _ in range(100):
        if events := status.get_events_by_incident(resource_id=resource.id):
            break
        time.sleep(0.05)
    assert status.get_event_by_incident(events[0].id).status.value == "up"
    assert status.get_incidents(status=package.Status.DOWN) == []
    with pytest.raises(package.exceptions.NotFoundException):
        status.get_incident("none")


def test_account(package: Any, api: Any) -> None:
    account = package.AccountApi(api)
    (capability,) = account.get_capabilities()
    assert account.get_capability(capability.id).units[0].value == "node_hours"
    (project,) = account.get_projects()
    assert account.get_project(project.id).name == "fusion"
    (hours,) = account.get_project_allocations_by_project(project.id)
    assert account.get_project_allocation_by_project(project.id, hours.id) == hours
    (mine,) = account.get_user_allocations_by_project_allocation(project.id, hours.id)
    assert account.get_user_allocation_by_project_allocation(project.id, hours.id, mine.id).user_id == "alice"


def test_compute(package: Any, api: Any) -> None:
    compute = package.ComputeApi(api)
    kind = package.JobSpec if hasattr(package, "JobSpec") else package.JobSpecInput
    long = kind(executable="/bin/sleep", arguments=["60"], name="one", attributes=package.JobAttributes(duration=120))
    job = compute.launch_job("cluster", long)
    assert job.id in [found.id for found in compute.get_jobs("cluster", include_spec=True)]
    long.name = "two"
    assert compute.update_job("cluster", job.id, long).id == job.id
    assert compute.get_job("cluster", job.id, include_spec=True).job_spec.name == "two"
    compute.cancel_job("cluster", job.id)
    state = ""
    for _ in range(200):
        if (state := compute.get_job("cluster", job.id, historical=True).status.state.value) == "canceled":
            break
        time.sleep(0.02)
    assert state == "canceled"
