"""Each distribution names its packages in its own way; what to unpack is read from apt's answers."""

from pathlib import Path
from textwrap import dedent

import pytest

from sandbox.services import debian_packages
from sandbox.services.debian_packages import PackagesUnavailable, companions, stands_for
from sandbox.services.rabbitmq_server import with_erlang_at

DEBIAN_12 = """\
    postgresql-15
     |Depends: locales
      Depends: locales-all
      Depends: postgresql-common
     |Depends: debconf
      Depends: <debconf-2.0>
        cdebconf
        debconf
      Depends: libc6
      Depends: libicu72
      Depends: libllvm14
      Depends: libpq5
      Depends: libsystemd0
        libelogind0
      Depends: zlib1g
    postgresql-common
      Depends: libjson-perl
    libllvm14
      Depends: libedit2
      Depends: libz3-4
    libpq5
      Depends: libssl3
    libedit2
      Depends: libbsd0
    """
UBUNTU_22_04 = """\
    postgresql-14
      Depends: postgresql-common
      Depends: libicu70
      Depends: libllvm14
      Depends: libpq5
    libllvm14
      Depends: libedit2
    libpq5
      PreDepends: libssl3
    """
UBUNTU_24_04 = """\
    postgresql-16
      Depends: postgresql-common
      Depends: libicu74
      Depends: libllvm17t64
      Depends: liblz4-1
      Depends: libpq5
      Depends: <libssl3>
        libssl3t64
      Depends: libxml2
    libllvm17t64
      Depends: libedit2
    libxml2
      Depends: libicu74
    """
RABBITMQ = """\
    rabbitmq-server
      Depends: adduser
     |Depends: erlang-base
      Depends: <erlang-base-hipe>
      Depends: erlang-ssl
      Depends: socat
    erlang-base
      Depends: libtinfo6
    erlang-ssl
      Depends: erlang-base
      Depends: erlang-crypto
    erlang-crypto
      Depends: libssl3t64
    """


@pytest.mark.parametrize("version", ["14", "15", "16"])
def test_the_metapackage_names_the_server(version: str) -> None:
    output = f"postgresql\n  Depends: postgresql-{version}\n  Suggests: postgresql-doc\n"

    assert stands_for(output, "postgresql") == f"postgresql-{version}"


def test_a_metapackage_without_a_version_is_an_error_with_the_command_that_helps() -> None:
    with pytest.raises(PackagesUnavailable, match="apt-get update"):
        stands_for("postgresql\n  Suggests: postgresql-doc\n", "postgresql")


@pytest.mark.parametrize(
    ("output", "package", "installed", "expected"),
    [
        (
            DEBIAN_12,
            "postgresql-15",
            {"libc6", "libsystemd0", "libssl3", "zlib1g"},
            ["libbsd0", "libedit2", "libicu72", "libllvm14", "libpq5", "libz3-4"],
        ),
        (UBUNTU_22_04, "postgresql-14", {"libssl3"}, ["libedit2", "libicu70", "libllvm14", "libpq5"]),
        (
            UBUNTU_24_04,
            "postgresql-16",
            {"liblz4-1", "libssl3t64"},
            ["libedit2", "libicu74", "libllvm17t64", "libpq5", "libxml2"],
        ),
    ],
)
def test_the_libraries_that_the_system_has_not_come_along(
    output: str, package: str, installed: set[str], expected: list[str]
) -> None:
    assert companions(dedent(output), package, parts=(), installed=installed) == expected


def test_any_installed_alternative_will_do() -> None:
    chosen = companions(dedent(DEBIAN_12), "postgresql-15", parts=(), installed={"libelogind0"})

    assert "libsystemd0" not in chosen


def test_a_virtual_library_is_had_from_the_package_that_provides_it() -> None:
    assert "libssl3t64" in companions(dedent(UBUNTU_24_04), "postgresql-16", parts=(), installed=())


def test_providers_named_under_other_relations_are_not_taken() -> None:
    output = "tool\n  Depends: libone\n  Breaks: <libtwo>\n    libthree\n"

    assert companions(output, "tool", parts=(), installed=()) == ["libone"]


def test_erlang_comes_along_whole_even_where_some_of_it_is_installed() -> None:
    chosen = companions(dedent(RABBITMQ), "rabbitmq-server", parts=("erlang-",), installed={"erlang-base", "libtinfo6"})

    assert chosen == ["erlang-base", "erlang-crypto", "erlang-ssl", "libssl3t64"]


@pytest.mark.parametrize("written", ["ROOTDIR=/usr/lib/erlang", 'ROOTDIR="/usr/lib/erlang"'])
def test_the_start_script_finds_the_erlang_that_came_along(written: str) -> None:
    script = f'    {written}\nBINDIR="$ROOTDIR/erts-13/bin"\n'

    moved = with_erlang_at(Path("/some where/usr/lib/erlang"), script)

    assert moved == '    ROOTDIR="/some where/usr/lib/erlang"\nBINDIR="$ROOTDIR/erts-13/bin"\n'


def test_unpacked_programs_find_their_libraries_and_installed_ones_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = tmp_path / "payments/postgresql-16-16.1-0a1b2c3d"
    folders = [root / "usr/lib/x86_64-linux-gnu", root / "lib/x86_64-linux-gnu"]
    for folder in folders:
        folder.mkdir(parents=True)

    unpacked = debian_packages.library_environment(root / "usr/lib/postgresql/16/bin")

    assert unpacked == {"LD_LIBRARY_PATH": f"{folders[0]}:{folders[1]}"}
    assert debian_packages.library_environment(Path("/usr/lib/postgresql/16/bin")) == {}
