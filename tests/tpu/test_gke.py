# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The JobSet: what is in the manifest, and what is called to apply it."""

import pytest
import yaml

from tests.tpu.stand_ins import TPU, Cloud

KUBECTL = ["kubectl", "--namespace=default"]
STATE = "--output=jsonpath={.status.terminalState}"
GET = [*KUBECTL, "get", "jobset", "lrm", "--ignore-not-found", STATE]
APPLY = [*KUBECTL, "apply", "--filename=-"]
DELETE = [*KUBECTL, "delete", "jobset", "lrm", "--ignore-not-found", "--wait"]
TRAIN = ["--", "lrm", "train", "hrm_sudoku"]


def job(manifest: dict) -> dict:
    (replicated,) = manifest["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def pod(manifest: dict) -> dict:
    return job(manifest)["template"]["spec"]


def render(cloud: Cloud, *words: str, **env: str) -> dict:
    return yaml.safe_load(cloud.ok("gke.sh", "render", *(words or TRAIN), **env))


def test_who_restarts_and_who_fails(cloud: Cloud):
    """Exit code 2 fails the set; any other end finds no rule, so it restarts."""
    manifest = render(cloud, GKE_MAX_RESTARTS="7")
    assert manifest["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert manifest["kind"] == "JobSet"
    policy = manifest["spec"]["failurePolicy"]
    (rule,) = policy["rules"]
    assert policy["maxRestarts"] == 7
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    spec = job(manifest)
    assert spec["backoffLimit"] == 0
    (pods,) = spec["podFailurePolicy"]["rules"]
    (container,) = pod(manifest)["containers"]
    codes = {"operator": "In", "values": [2], "containerName": container["name"]}
    assert pods == {"action": "FailJob", "onExitCodes": codes}
    # Kubernetes takes a pod failure policy with this restart policy alone.
    assert pod(manifest)["restartPolicy"] == "Never"
    assert pod(manifest)["terminationGracePeriodSeconds"] == 25


@pytest.mark.parametrize(
    ("accelerator", "label", "topology", "hosts", "chips"),
    [
        ("v4-32", "tpu-v4-podslice", "2x2x4", 4, 4),
        ("v5p-64", "tpu-v5p-slice", "2x4x4", 8, 4),
        ("v5litepod-16", "tpu-v5-lite-podslice", "4x4", 4, 4),
        ("v6e-8", "tpu-v6e-slice", "2x4", 1, 8),
        ("tpu7x-64", "tpu7x", "2x4x4", 8, 4),
    ],
)
def test_where_it_runs(cloud: Cloud, accelerator, label, topology, hosts, chips):
    manifest = render(cloud, TPU_ACCELERATOR=accelerator)
    notes = manifest["metadata"]["annotations"]
    exclusive = "alpha.jobset.sigs.k8s.io/exclusive-topology"
    assert notes[exclusive] == "cloud.google.com/gke-nodepool"
    assert pod(manifest)["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": label,
        "cloud.google.com/gke-tpu-topology": topology,
    }
    spec = job(manifest)
    assert (spec["parallelism"], spec["completions"]) == (hosts, hosts)
    assert spec["completionMode"] == "Indexed"
    resources = pod(manifest)["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"google.com/tpu": chips}
    assert pod(manifest)["serviceAccountName"] == "trainer"


def test_spot_nodes_and_slices(cloud: Cloud):
    manifest = render(cloud, TPU_TIER="spot", TPU_SLICES="2")
    assert manifest["spec"]["replicatedJobs"][0]["replicas"] == 2
    spot = "cloud.google.com/gke-spot"
    assert pod(manifest)["nodeSelector"][spot] == "true"
    assert pod(manifest)["tolerations"][1]["key"] == spot
    assert len(pod(render(cloud))["tolerations"]) == 1
    one = {"TPU_SLICES": "2", "TPU_ACCELERATOR": "v6e-8"}
    error = cloud.refused("gke.sh", "render", *TRAIN, **one)
    assert "slices of several hosts" in error


def test_words_arrive_as_they_are(cloud: Cloud):
    words = ["a b", 'say "x"', "it's", "back\\slash", "${TPU_NAME}", "# no", "", "é"]
    cache = "gs://my-bucket/jax-cache"
    env = ["--env", "NOTE=x: y"]
    manifest = render(cloud, *env, "--", "echo", *words, TPU_CACHE_DIR=cache)
    (container,) = pod(manifest)["containers"]
    assert container["command"] == ["echo", *words]
    assert container["image"] == cloud.settings["GKE_IMAGE"]
    assert container["env"] == [
        {"name": "JAX_COMPILATION_CACHE_DIR", "value": cache},
        {"name": "NOTE", "value": "x: y"},
    ]
    # Kubernetes would put a variable in for $(NAME); $$ keeps it from that.
    (container,) = pod(render(cloud, "--", "echo", "$(HOME)"))["containers"]
    assert container["command"] == ["echo", "$$(HOME)"]


def test_yaml_does_not_read_names_as_something_else(cloud: Cloud):
    manifest = render(cloud, TPU_NAME="null", GKE_NAMESPACE="on")
    assert manifest["metadata"]["name"] == "null"
    assert manifest["metadata"]["namespace"] == "on"


def test_the_run_folder_is_on_gcs(cloud: Cloud):
    (container,) = pod(render(cloud))["containers"]
    assert container["command"][-2:] == ["--run-dir", "gs://my-bucket/runs/first"]
    assert container["env"] == []
    error = cloud.refused("gke.sh", "render", *TRAIN, "--run-dir", "runs/x")
    assert "lost with it" in error


def test_the_template_is_yaml_itself():
    assert yaml.safe_load((TPU / "jobset.yaml").read_text())["kind"] == "JobSet"


def test_apply_and_again(cloud: Cloud):
    for _ in range(2):  # kubectl finds it unchanged
        cloud.ok("gke.sh", "apply", *TRAIN)
        assert cloud.calls() == [GET, APPLY]
        assert yaml.safe_load(cloud.inputs()[0]) == render(cloud)
        cloud.forget()


def test_a_finished_set_goes_only_by_its_exact_name(cloud: Cloud):
    cloud.reply("get jobset", "Completed")
    cloud.ok("gke.sh", "apply", *TRAIN)
    assert cloud.calls() == [GET]
    cloud.forget()
    cloud.reply("get jobset", "Failed")
    done = cloud.run("gke.sh", "apply", *TRAIN)
    assert done.returncode == 1 and "--replace lrm" in done.stderr
    assert cloud.calls() == [GET]
    cloud.forget()
    cloud.refused("gke.sh", "apply", "--replace", "lr", *TRAIN)
    cloud.ok("gke.sh", "apply", "--replace", "lrm", *TRAIN)
    assert cloud.calls() == [GET, DELETE, APPLY]


def test_status_logs_delete(cloud: Cloud):
    cloud.settings |= {"GKE_CONTEXT": "mine", "GKE_NAMESPACE": "team"}
    kubectl = ["kubectl", "--context=mine", "--namespace=team"]
    cloud.ok("gke.sh", "status")
    cloud.ok("gke.sh", "logs", "--worker", "2", "--slice", "1", "--follow")
    cloud.ok("gke.sh", "delete", "other")
    name = "jobset.sigs.k8s.io/jobset-name=lrm"
    host = f"{name},jobset.sigs.k8s.io/job-index=1"
    host += ",batch.kubernetes.io/job-completion-index=2"
    logs = [f"--selector={host}", "--container=train", "--tail=200", "--follow"]
    assert cloud.calls() == [
        [*kubectl, "get", "jobset", "lrm", "--ignore-not-found"],
        [*kubectl, "get", "pods", f"--selector={name}", "--output=wide"],
        [*kubectl, "logs", *logs],
        [*kubectl, "delete", "jobset", "other", "--ignore-not-found", "--wait"],
    ]
    cloud.forget()
    assert "exact name" in cloud.refused("gke.sh", "delete")


@pytest.mark.parametrize(
    "line",
    [["apply", *TRAIN, "a b"], ["status"], ["logs"], ["delete", "lrm"]],
    ids=lambda line: line[0],
)
def test_dry_run_says_what_would_be_called(cloud: Cloud, line: list[str]):
    cloud.dry_run_says_the_same("gke.sh", *line, verb=True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "render, apply, status, logs or delete"),
        (["destroy"], "not destroy"),
        (["apply"], "no command"),
        (["status", "--follow"], "unknown word --follow for status"),
        (["logs", "--worker", "all"], "an index from 0"),
        (["apply", "--env", "1=2", *TRAIN], "NAME=VALUE"),
        (["apply", *TRAIN, "a\tb"], "control character"),
    ],
)
def test_bad_words_are_one_line(cloud: Cloud, line: list[str], says: str):
    assert says in cloud.refused("gke.sh", *line)
    long = {"TPU_NAME": "a" * 41}
    assert "at most 40" in cloud.refused("gke.sh", "render", *TRAIN, **long)
