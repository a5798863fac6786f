# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names are checked by Google's own rules, before anything is called."""

import math

import pytest

from tests.tpu.stand_ins import TPU, Cloud

SLICES = {
    line.split("\t")[0]: line.split("\t")[1:]
    for line in (TPU / "slices.tsv").read_text().splitlines()
    if not line.startswith("#")
}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("TPU_PROJECT", "", "TPU_PROJECT is not set: a project id"),
        ("TPU_PROJECT", "My-Project", "a project id"),
        ("TPU_PROJECT", "short", "6 to 30"),
        ("TPU_PROJECT", "ends-in-hyphen-", "no hyphen last"),
        ("TPU_ZONE", "us-central2", "a zone, such as us-central2-b"),
        ("TPU_ZONE", "us_central2_b", "a zone"),
        ("TPU_NAME", "Lrm", "lower-case"),
        ("TPU_NAME", "2lrm", "a letter first"),
        ("TPU_NAME", "lrm-", "no hyphen last"),
        ("TPU_NAME", "lrm; rm -rf /", "'lrm; rm -rf /'"),
        ("TPU_NAME", "a\nb", "TPU_NAME="),
        ("TPU_NAME", "a" * 64, "1 to 63"),
        ("TPU_ACCELERATOR", "", "TPU_ACCELERATOR is not set"),
        ("TPU_ACCELERATOR", "v5e-16", "v4-N v5p-N v5litepod-N v6e-N tpu7x-N"),
        ("TPU_ACCELERATOR", "v6e-12", "none of v6e-1 v6e-4 v6e-8 v6e-16"),
        ("TPU_ACCELERATOR", ".*", "TPU_ACCELERATOR='.*'"),
        ("TPU_ACCELERATOR", "tpu7x-64", "GKE has: tpu/gke.sh"),
        ("TPU_RUNTIME", "v2-alpha-tpuv5", "made for another chip"),
        ("TPU_RUNTIME", "v2-alpha-tpuv4", "made for another chip"),
        ("TPU_RUNTIME", "ubuntu", "a TPU software version"),
        ("TPU_TIER", "cheap", "on-demand, spot or reserved"),
        ("TPU_SLICES", "0", "a number of slices"),
        ("TPU_SLICES", "x[$(touch evil)]", "a number of slices"),
        ("TPU_SERVICE_ACCOUNT", "me@example.com", "gserviceaccount"),
        ("TPU_RUN_DIR", "runs/x", "gs://BUCKET/PATH"),
        ("TPU_RUN_DIR", "gs://Bucket/x", "the bucket 3 to 63 lower-case"),
        ("TPU_RUN_DIR", "gs://my-bucket", "gs://BUCKET/PATH"),
        ("TPU_RUN_DIR", "gs://google-bucket/x", "gs://BUCKET/PATH"),
        ("TPU_RUN_DIR", "gs://my-bucket/a b", "after the bucket"),
        ("TPU_RUN_DIR", "gs://my-bucket/a//b", "single slashes"),
        ("TPU_CACHE_DIR", "gs://my-bucket/../b", "TPU_CACHE_DIR="),
    ],
)
def test_a_bad_name_is_one_line(cloud: Cloud, name: str, value: str, says: str):
    error = cloud.refused("env.sh", **{name: value})
    assert says in error and name in error
    assert not list(cloud.folder.rglob("evil"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GKE_IMAGE", "lrm-jax:0.1", "an image with its registry"),
        ("GKE_IMAGE", "us-docker.pkg.dev/p/r/i:a b", "an image"),
        ("GKE_SERVICE_ACCOUNT", "", "GKE_SERVICE_ACCOUNT is not set"),
        ("GKE_NAMESPACE", "Team", "a Kubernetes namespace"),
        ("GKE_CONTEXT", "--all", "kubectl config get-contexts"),
        ("GKE_MAX_RESTARTS", "-1", "0 to 9999"),
    ],
)
def test_a_bad_name_of_gke_is_one_line(cloud: Cloud, name: str, value: str, says: str):
    assert says in cloud.refused("env.sh", "--gke", **{name: value})


@pytest.mark.parametrize(
    ("accelerator", "runtime"),
    [
        ("v4-8", "tpu-ubuntu2204-base"),
        ("v5p-64", "v2-alpha-tpuv5"),
        ("v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v6e-8", "v2-alpha-tpuv6e"),
    ],
)
def test_the_runtime_follows_from_the_chip(cloud: Cloud, accelerator, runtime):
    out = cloud.ok("env.sh", TPU_ACCELERATOR=accelerator)
    assert f"TPU_RUNTIME={runtime}\n" in out


def test_names_that_are_right_pass(cloud: Cloud):
    right = [
        ("TPU_PROJECT", "example.com:my-project"),
        ("TPU_ZONE", "us-central1-ai1a"),
        ("TPU_ZONE", "northamerica-northeast1-b"),
        ("TPU_RUNTIME", "v2-alpha-tpuv5-lite"),
        ("TPU_RUNTIME", "tpu-vm-tf-2.17.1-pod-pjrt"),
        ("TPU_SERVICE_ACCOUNT", "1234-compute@developer.gserviceaccount.com"),
        ("TPU_RUN_DIR", "gs://my.bucket_1/runs/lr=1e-4@2/"),
        ("GKE_IMAGE", "gcr.io/p/i@sha256:" + "0" * 64),
        ("GKE_CONTEXT", "gke_my-project_us-west4_lrm"),
    ]
    for name, value in right:
        out = cloud.ok("env.sh", *["--gke"] * name.startswith("GKE"), **{name: value})
        assert f"{name}={value}\n" in out


def test_the_file_is_read_and_the_environment_wins(cloud: Cloud):
    file = cloud.folder / "my.env"
    file.write_text("# mine\n\nTPU_NAME=from-file # here\nTPU_ZONE=us-east5-a\n")
    del cloud.settings["TPU_ZONE"]
    out = cloud.ok("env.sh", TPU_ENV_FILE=str(file))
    assert "TPU_NAME=lrm\n" in out and "TPU_ZONE=us-east5-a\n" in out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("TPU_NAME=$(touch evil)", ":1: not NAME=VALUE"),
        ("export TPU_NAME=x", ":1: not NAME=VALUE"),
        ("TPU_NAMES=x", ":1: TPU_NAMES is none of: TPU_PROJECT"),
        ("PATH=/tmp", ":1: PATH is none of"),
    ],
)
def test_the_file_runs_nothing(cloud: Cloud, line: str, says: str):
    file = cloud.folder / "my.env"
    file.write_text(line + "\n")
    assert says in cloud.refused("env.sh", TPU_ENV_FILE=str(file))
    assert not (cloud.folder / "evil").exists()


def test_a_file_that_is_not_there(cloud: Cloud):
    assert "no such file" in cloud.refused("env.sh", TPU_ENV_FILE="nowhere.env")


def test_the_example_is_right_as_it_stands(cloud: Cloud):
    cloud.settings = {}
    example = str(TPU / "tpu.env.example")
    assert "16 chips on 4 hosts of 4" in cloud.ok("env.sh", TPU_ENV_FILE=example)


def test_slices_multiply_out(cloud: Cloud):
    assert cloud.ok("env.sh", "--slices").count("\n") == len(SLICES)
    assert SLICES["v5p-64"][:3] == ["2x4x4", "32", "8"]
    assert SLICES["v5litepod-16"][:3] == ["4x4", "16", "4"]
    assert SLICES["v6e-8"][:4] == ["2x4", "8", "1", "8"]
    for name, (topology, chips, hosts, per_host, _, machine, _) in SLICES.items():
        kind, number = name.split("-")
        cores = 1 if kind in ("v5litepod", "v6e") else 2
        assert math.prod(map(int, topology.split("x"))) == int(chips), name
        assert int(number) == cores * int(chips) == cores * int(hosts) * int(per_host)
        assert machine.endswith(f"-{per_host}t"), name


def test_slices_agree_with_the_table_of_chips():
    """What the cost model can plan is what can be rented, by the same names."""
    chips = pytest.importorskip("lrm_jax.cost.chips")
    assert {one.accelerator_type for one in chips.SLICES} == set(SLICES)
    for one in chips.SLICES:
        topology, count, hosts, *_ = SLICES[one.accelerator_type]
        assert topology == "x".join(map(str, one.topology)), one
        assert (int(count), int(hosts)) == (one.chips, one.hosts), one
