"""A project and its settings: profile in `configs/dpipe.yaml` < environment `DPIPE_…` < flag."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dpipe.errors import ConfigError, UsageError
from dpipe.s3 import Location

CONFIG_FILE = Path("configs/dpipe.yaml")
SECRETS = frozenset({"alert_urls", "catalog_credential", "catalog_token", "lineage_api_key"})
SNOWFLAKE_SECRETS = frozenset({"private_key_passphrase", "token"})


class SnowflakeSettings(BaseModel):
    """How the project reaches its Snowflake account, and what it has there.

    A user signs in with a private key, or with an OAuth token where there is none.
    """

    model_config = ConfigDict(extra="forbid")

    account: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$", description="`<organisation>-<account>`")
    user: str = Field(min_length=1, max_length=255)
    private_key_file: Path | None = Field(default=None, description="PEM file of the user's private key")
    private_key_passphrase: SecretStr | None = Field(default=None, description="from the environment only")
    token: SecretStr | None = Field(default=None, description="OAuth access token; from the environment only")
    prefix: str = Field(
        default="DPIPE",
        pattern=r"^[A-Z][A-Z0-9_]{0,99}$",
        description="how names of databases, roles and the warehouse begin",
    )
    warehouse_size: Literal["XSMALL", "SMALL", "MEDIUM", "LARGE", "XLARGE"] = "XSMALL"
    auto_suspend_seconds: int = Field(default=60, ge=30, le=86_400)
    monthly_credits: int = Field(
        default=50, ge=1, description="after which the warehouse is suspended until the month ends"
    )
    allowed_networks: list[str] = Field(
        default_factory=list, description="addresses (CIDR) that the user may come from; empty for any"
    )
    host: str | None = Field(
        default=None, description="where Snowflake is reached otherwise than by the account"
    )
    port: int = Field(default=443, ge=1, le=65535)
    protocol: Literal["https", "http"] = Field(default="https", description="`http` is for an emulator")


class Settings(BaseSettings):
    """What a profile may set. Paths that are not absolute start at the project's folder."""

    model_config = SettingsConfigDict(env_prefix="DPIPE_", extra="forbid", env_nested_delimiter="__")

    name: str = Field(description="the project's name, for people")
    profile: str = "local"
    sources: dict[str, str] = Field(default_factory=dict, description="dataset → path or glob of its files")
    streams: dict[str, str] = Field(
        default_factory=dict,
        description="dataset → the stream that feeds it: `kinesis://name?region=eu-west-1`",
    )
    submit_to: Literal["landing", "stream"] = Field(
        default="landing",
        description="where the API puts small submissions: into landing, or into the stream that feeds the dataset",
    )
    stream_max_records: int = Field(
        default=10_000, ge=1, le=10_000_000, description="records of a stream in a batch, at most"
    )
    stream_max_bytes: int = Field(
        default=16 << 20, ge=1, le=1 << 30, description="bytes that end a batch of a stream"
    )
    stream_max_seconds: float = Field(
        default=2.0, gt=0, le=3600, description="how long a batch of a stream waits for further records"
    )
    stream_lease_seconds: float = Field(
        default=15.0,
        gt=0,
        le=3600,
        description="after which a worker's shards go to others when it is silent",
    )
    data_dir: Path = Field(default=Path("var"), description="where everything that dpipe writes lives")
    landing: str | None = Field(
        default=None, description="where batches land: `s3://bucket/prefix`; default `data_dir`"
    )
    warehouse: str | None = Field(
        default=None, description="where the tables' files are: `s3://bucket/prefix`; default `data_dir`"
    )
    catalog_uri: str | None = Field(
        default=None,
        description="Iceberg catalog: a SQLAlchemy URL, `https://…` of a REST catalog, or `glue`; default SQLite in "
        "`data_dir`",
    )
    catalog_credential: SecretStr | None = Field(
        default=None, description="`id:secret` for a REST catalog; from the environment only"
    )
    catalog_oauth2_uri: str | None = Field(
        default=None,
        description="where a REST catalog's credential is exchanged for a token; default the catalog",
    )
    catalog_token: SecretStr | None = Field(
        default=None, description="bearer token for a REST catalog; from the environment only"
    )
    state_url: str | None = Field(default=None, description="state database; default SQLite in `data_dir`")
    batch_size: int = Field(default=100_000, ge=1, le=10_000_000, description="records held at a time")
    threads: int = Field(default=0, ge=0, le=1024, description="kernel threads; 0 means every core")
    key_memory_mb: int = Field(
        default=1024,
        ge=0,
        le=1 << 20,
        description="memory for keys and unique values; further ones go to a file without a name",
    )
    max_rejected_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="the gate refuses a batch with a larger share of rejected records",
    )
    alert_urls: list[SecretStr] = Field(
        default_factory=list,
        description="where alerts go, as apprise's URLs in a JSON list; from the environment only",
    )
    lineage_url: str | None = Field(
        default=None,
        description="where OpenLineage events are sent: `http://host:5000`, or with the path that takes them",
    )
    lineage_file: Path | None = Field(
        default=None, description="file that OpenLineage events are written to, one a line"
    )
    lineage_api_key: SecretStr | None = Field(
        default=None, description="bearer token for `lineage_url`; from the environment only"
    )
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=65535)
    max_body_bytes: int = Field(default=1 << 30, ge=1, description="largest body that the API takes")
    max_decompressed_bytes: int = Field(
        default=16 << 30, ge=1, description="what a compressed body may come to at most"
    )
    max_backlog_batches: int = Field(
        default=10_000, ge=1, description="batches that may wait to be processed before the API takes no more"
    )
    min_free_mb: int = Field(
        default=512, ge=0, description="room that the disk must have for the API to take a batch"
    )
    job_retention_days: int = Field(
        default=90,
        ge=1,
        le=36_500,
        description="jobs that are over are listed so long; `dpipe maintain` forgets them",
    )
    dash_port: int = Field(default=8501, ge=1, le=65535)
    target: Literal["duckdb", "snowflake"] = Field(
        default="duckdb", description="where `transform` builds the marts and `publish` swaps them in"
    )
    snowflake: SnowflakeSettings | None = Field(
        default=None, description="the Snowflake account, for `dpipe warehouse` and the target `snowflake`"
    )
    log_format: Literal["text", "json"] = "text"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which comes in by the constructor."""
        return env_settings, init_settings


@dataclass(frozen=True)
class Project:
    """A folder with `configs/dpipe.yaml`, and where its parts are."""

    root: Path
    settings: Settings

    @property
    def data_dir(self) -> Path:
        """Everything that dpipe writes."""
        return self.root / self.settings.data_dir

    @property
    def landing(self) -> Path:
        """Landed batches, unless they are in a bucket: `<dataset>/<batch id>/`, immutable."""
        return self.data_dir / "landing"

    @cached_property
    def landing_bucket(self) -> Location | None:
        """Where batches land in S3, None when they land in a folder."""
        return Location(self.settings.landing) if self.settings.landing else None

    @property
    def spool(self) -> Path:
        """Files on their way to or from S3."""
        return self.data_dir / "spool"

    @property
    def warehouse(self) -> str:
        """The location that the tables' files are under."""
        return str(Location(self.settings.warehouse)) if self.settings.warehouse else f"file://{self.lake}"

    @property
    def lake(self) -> Path:
        """The Iceberg warehouse folder, unless it is in a bucket."""
        return self.data_dir / "lake"

    @property
    def kept_contracts(self) -> Path:
        """Every contract that a batch was committed under, by its hash."""
        return self.data_dir / "contracts"

    @property
    def undelivered_lineage(self) -> Path:
        """OpenLineage events that wait for their receiver, a file for each run."""
        return self.data_dir / "lineage"

    @property
    def refused(self) -> Path:
        """Files of batches that the gate refused."""
        return self.data_dir / "refused"

    @property
    def locks(self) -> Path:
        """Lock files, one a resource."""
        return self.data_dir / "locks"

    @property
    def marts(self) -> Path:
        """The published DuckDB file; only `publish` replaces it.

        Not `marts.duckdb`: DuckDB names a database after its file, and `marts.fct_flights` would be ambiguous
        where database and schema have one name.
        """
        return self.data_dir / "warehouse" / "warehouse.duckdb"

    @property
    def candidate(self) -> Path:
        """The DuckDB file that `transform` builds and `publish` swaps in."""
        return self.data_dir / "warehouse" / "candidate.duckdb"

    @property
    def contracts(self) -> Path:
        """`*.odcs.yaml`, one a dataset."""
        return self.root / "configs" / "contracts"

    @property
    def transform(self) -> Path:
        """The dbt project."""
        return self.root / "transform"

    @property
    def checks(self) -> Path:
        """Expectation suites beyond the contracts."""
        return self.root / "checks"

    @property
    def ui(self) -> Path:
        """Streamlit pages."""
        return self.root / "ui"

    @property
    def catalog_uri(self) -> str:
        """SQLAlchemy URL of the Iceberg catalog."""
        return self.settings.catalog_uri or _sqlite_url(self.data_dir / "catalog.db")

    @property
    def state_url(self) -> str:
        """SQLAlchemy URL of the state database."""
        return self.settings.state_url or _sqlite_url(self.data_dir / "state.db")

    def datasets(self) -> list[str]:
        """Names of the datasets that have a contract, sorted."""
        return sorted(path.name.removesuffix(".odcs.yaml") for path in self.contracts.glob("*.odcs.yaml"))


def find_root(start: Path | None) -> Path:
    """The project's folder: `start`, else `DPIPE_PROJECT`, else the nearest folder upwards with the config file.

    Raises `UsageError` when there is none.
    """
    given = start or (Path(os.environ["DPIPE_PROJECT"]) if os.environ.get("DPIPE_PROJECT") else None)
    if given is not None:
        if not (given / CONFIG_FILE).is_file():
            raise UsageError(
                f"`{given}` is not a dpipe project: it has no `{CONFIG_FILE}`",
                hint="name a project's folder, or make one with `dpipe init FOLDER`",
            )
        return given.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise UsageError(
        f"no dpipe project in `{here}` or above it",
        hint="change into a project's folder, pass `--project`, or make one with `dpipe init FOLDER`",
    )


def load_project(
    start: Path | None = None, *, profile: str | None = None, overrides: dict[str, Any] | None = None
) -> Project:
    """Find the project and read its settings.

    `overrides` are the values of flags and win over everything else. Raises `UsageError` without a project and
    `ConfigError` when the file or the environment holds something that is not a setting, and for folders whose
    path can't be part of an Iceberg location.
    """
    root = find_root(start)
    values = _profile_values(root / CONFIG_FILE, profile or os.environ.get("DPIPE_PROFILE"))
    try:
        settings = Settings(**values)
        if overrides:
            settings = Settings.model_validate(settings.model_dump() | overrides)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigError(
            f"setting `{where}`: {first['msg'].rstrip('.')}",
            hint=f"mend it in `{root / CONFIG_FILE}`, in the environment (`DPIPE_…`) or in the flag",
        ) from error
    project = Project(root, settings)
    _check_path(root)
    _check_path(project.data_dir)
    return project


def _check_path(folder: Path) -> None:
    """Refuse what a file's location, a URL, would take for the beginning of its query or fragment."""
    for character in "#?":
        if character in str(folder):
            raise ConfigError(
                f"the path `{folder}` has a `{character}`, which the location of an Iceberg table can't have",
                hint="give the folder another name, then run the command again",
            )


def _sqlite_url(path: Path) -> str:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _profile_values(path: Path, profile: str | None) -> dict[str, Any]:
    """The file's common values with those of the chosen profile over them."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"`{path}` can't be read: {error}", hint="mend the file") from error
    if not isinstance(document, dict):
        raise ConfigError(f"`{path}` is not a mapping", hint="begin it with `name:`")
    profiles = document.pop("profiles", None) or {}
    for values in (document, *profiles.values()):
        for name in _secrets_in(values or {}):
            raise ConfigError(
                f"`{path}` holds `{name}`, which is a secret",
                hint="take it out, and give it in the environment: "
                f"`DPIPE_{name.upper().replace('.', '__')}`",
            )
    chosen = profile or document.get("profile", "local")
    if chosen not in profiles:
        known = ", ".join(f"`{name}`" for name in profiles) or "none"
        raise ConfigError(f"`{path}` has no profile `{chosen}`", hint=f"profiles there: {known}")
    return {**document, **(profiles[chosen] or {}), "profile": chosen}


def _secrets_in(values: dict[str, Any]) -> list[str]:
    of_snowflake = values.get("snowflake")
    nested = SNOWFLAKE_SECRETS & of_snowflake.keys() if isinstance(of_snowflake, dict) else ()
    return [*sorted(SECRETS & values.keys()), *(f"snowflake.{name}" for name in sorted(nested))]
