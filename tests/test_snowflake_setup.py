"""What an account needs, printed: names, limits and keys in it, secrets not. None of it is run here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dpipe.errors import ConfigError
from dpipe.warehouse.snowflake.columns import Column, changes
from snowflake_account import private_key
from support import make_project, run_dpipe

if TYPE_CHECKING:
    from pathlib import Path

    from dpipe.settings import Project

REST = {"catalog_uri": "https://catalog.example/api", "warehouse": "s3://bucket/lake"}
CREDENTIAL = {"DPIPE_CATALOG_CREDENTIAL": "client:very-secret"}


def project_with(folder: Path, **settings: Any) -> Project:
    (folder / "key.p8").write_bytes(private_key())
    account = {"account": "org-name", "user": "Load'er", "private_key_file": "key.p8", "monthly_credits": 7}
    account |= settings.pop("snowflake", {})
    return make_project(folder, settings={"snowflake": account, **settings})


def statements(project: Project, *flags: str) -> list[str]:
    printed = run_dpipe(project, "warehouse", "init", "--json", *flags, environment=CREDENTIAL)
    assert printed.returncode == 0, printed.stderr
    assert "very-secret" not in printed.stdout + printed.stderr
    answer = json.loads(printed.stdout)
    assert answer["applied"] is False
    found: list[str] = answer["statements"]
    return found


def test_the_account_is_printed_with_its_limits_and_the_public_key(tmp_path: Path) -> None:
    project = project_with(tmp_path, snowflake={"allowed_networks": ["192.0.2.0/24"], "prefix": "SHOP"})
    text = "\n".join(statements(project))
    for wanted in (
        "create role if not exists SHOP_READER",
        "warehouse_size = XSMALL auto_suspend = 60",
        "credit_quota = 7",
        "create database if not exists SHOP_BUILD",
        "alter user \"LOAD'ER\" set rsa_public_key = 'MII",
        "allowed_ip_list = ('192.0.2.0/24')",
        "create stage if not exists SHOP_LAKE.DPIPE_LOAD.FILES",
    ):
        assert wanted in text
    assert "PRIVATE" not in text


def test_a_linked_database_reads_only_and_hides_the_secret(tmp_path: Path) -> None:
    text = "\n".join(statements(project_with(tmp_path, **REST), "--linked"))
    assert "catalog_uri = 'https://catalog.example/api'" in text
    assert "oauth_client_id = 'client' oauth_client_secret = '<DPIPE_CATALOG_CREDENTIAL>'" in text
    assert "allowed_write_operations = none" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"catalog_uri": "glue"}, "Glue's REST endpoint"), ({}, "speaks REST over `https://`")],
)
def test_a_lake_that_cant_be_linked_is_told_so(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    failed = run_dpipe(project_with(tmp_path, **settings), "warehouse", "init", "--linked")
    assert failed.returncode == 2
    assert said in failed.stderr
    assert "dpipe warehouse load" in failed.stderr


def test_a_secret_in_the_settings_file_is_refused_by_name(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    path = project.root / "configs" / "dpipe.yaml"
    document = yaml.safe_load(path.read_text())
    document["snowflake"]["token"] = "very-secret"
    path.write_text(yaml.safe_dump(document))
    failed = run_dpipe(project, "warehouse", "init")
    assert failed.returncode == 2
    assert "`snowflake.token`, which is a secret" in failed.stderr
    assert "DPIPE_SNOWFLAKE__TOKEN" in failed.stderr
    assert "very-secret" not in failed.stderr


def test_columns_are_renamed_one_after_the_other_and_never_to_a_name_that_is_there() -> None:
    have = [Column(1, "a", "varchar"), Column(2, "b", "varchar")]
    chain = [Column(1, "b", "varchar"), Column(2, "c", "varchar")]
    assert changes(have, chain, {"A", "B"}) == [
        'rename column "B" to "C"',
        'rename column "A" to "B"',
    ]
    with pytest.raises(ConfigError, match="changed names with each other"):
        changes(have, [Column(1, "b", "varchar"), Column(2, "a", "varchar")], {"A", "B"})
