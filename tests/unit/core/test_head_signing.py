"Keys that sign heads of the ledger: files, permissions, and signatures that another program verifies."

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from football_pred.core.head_signing import (
    KeyFileError,
    create_signing_key,
    head_signature_problem,
    load_signing_key,
    parse_head_line,
    public_key_hex,
    sign_head,
    signed_bytes,
    write_head_line,
)
from tests.support.anchors import make_head
from tests.support.services import require_program


def write_pem(path, key, encryption=None):
    content = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )
    path.write_bytes(content)
    path.chmod(0o600)


def test_openssl_verifies_the_signature(tmp_path):
    openssl = require_program('openssl', 'openssl')
    key = create_signing_key(tmp_path / 'ledger-key.pem')
    head = make_head(key=key)
    (tmp_path / 'text').write_bytes(signed_bytes(head))
    (tmp_path / 'signature').write_bytes(bytes.fromhex(head['signature']))
    verify = [openssl, 'pkeyutl', '-verify', '-inkey', 'ledger-key.pem', '-rawin', '-in', 'text']
    verify += ['-sigfile', 'signature']
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / 'text').write_bytes(signed_bytes(head | {'size': 4}))
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True).returncode == 1


def test_signed_text_is_that_of_the_specification():
    assert signed_bytes(make_head()) == (
        b'football_pred ledger head v1\n{"at":"2026-11-30T08:53:32.000000+00:00","key":null,'
        b'"origin":"' + b'0f' * 16 + b'","root":"' + b'ab' * 32 + b'","size":3}'
    )


def test_one_of_many_who_create_a_key_wins(tmp_path):
    path = tmp_path / 'new' / 'ledger-key.pem'

    def create(number):
        try:
            return public_key_hex(create_signing_key(path))
        except KeyFileError:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [text for text in pool.map(create, range(16)) if text]
    assert winners == [public_key_hex(load_signing_key(path))]
    assert path.with_suffix('.pub').read_text().strip() == winners[0]
    assert sorted(item.name for item in path.parent.iterdir()) == [
        'ledger-key.pem',
        'ledger-key.pub',
    ]


def test_key_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        create_signing_key(tmp_path / 'ledger-key.pem')
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / 'ledger-key.pem').stat().st_mode) == 0o600


@pytest.mark.parametrize('existing', ['ledger-key.pem', 'ledger-key.pub'])
def test_nothing_is_overwritten(tmp_path, existing):
    (tmp_path / existing).write_text('precious')
    with pytest.raises(KeyFileError, match=f'{existing} exists'):
        create_signing_key(tmp_path / 'ledger-key.pem')
    assert (tmp_path / existing).read_text() == 'precious'
    assert len(list(tmp_path.iterdir())) == 1


def test_link_that_leads_nowhere_is_not_followed(tmp_path):
    (tmp_path / 'ledger-key.pem').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(KeyFileError, match='exists'):
        create_signing_key(tmp_path / 'ledger-key.pem')
    assert not (tmp_path / 'elsewhere').exists()


@pytest.mark.parametrize('mode', [0o644, 0o640, 0o604, 0o660, 0o620, 0o601])
def test_key_that_others_can_reach_is_refused(tmp_path, mode):
    path = tmp_path / 'ledger-key.pem'
    create_signing_key(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f'has mode {mode:o}.*chmod 600'):
        load_signing_key(path)


def test_missing_key_is_none(tmp_path):
    assert load_signing_key(tmp_path / 'ledger-key.pem') is None


@pytest.mark.skipif(os.geteuid() == 0, reason='root reads every file')
def test_unreadable_key_is_refused(tmp_path):
    path = tmp_path / 'ledger-key.pem'
    create_signing_key(path)
    path.chmod(0)
    with pytest.raises(KeyFileError, match='Permission denied'):
        load_signing_key(path)


def test_what_is_no_key_is_refused(tmp_path):
    path = tmp_path / 'ledger-key.pem'
    with pytest.raises(KeyFileError, match='Is a directory'):
        load_signing_key(tmp_path)
    write_pem(path, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyFileError, match='not an Ed25519 key'):
        load_signing_key(path)
    write_pem(path, Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b'hush'))
    with pytest.raises(KeyFileError, match='has a password'):
        load_signing_key(path)
    for content in (b'', b'nonsense', b'\x00\xff' * 5000):
        path.write_bytes(content)
        with pytest.raises(KeyFileError, match='no private key'):
            load_signing_key(path)


def test_signature_holds_for_its_head_alone(tmp_path):
    key = create_signing_key(tmp_path / 'ledger-key.pem')
    other = create_signing_key(tmp_path / 'other.pem')
    head = make_head(key=key)
    assert head_signature_problem(head, [public_key_hex(key)]) is None
    assert parse_head_line(write_head_line(head)) == head
    forgeries = [
        head | {'size': 2},
        head | {'root': 'cd' * 32},
        head | {'at': '2026-11-30T08:53:33.000000+00:00'},
        head | {'origin': 'ff' * 16},
        head | {'key': public_key_hex(other)},
        head | {'signature': make_head(key=other)['signature']},
        head | {'key': 'ff' * 32},
    ]
    for forgery in forgeries:
        assert 'did not make' in str(head_signature_problem(forgery))
    assert 'not one of those' in str(head_signature_problem(head, [public_key_hex(other)]))
    assert 'is not signed' in str(head_signature_problem(make_head(), [public_key_hex(key)]))
    assert 'both key and signature' in str(head_signature_problem(head | {'signature': None}))
    assert 'not a head' in str(head_signature_problem({}))


def test_signing_is_deterministic_and_does_not_change_its_argument(tmp_path):
    key = create_signing_key(tmp_path / 'ledger-key.pem')
    plain = {'origin': '0f' * 16, 'size': 0, 'root': 'ab' * 32}
    plain['at'] = '2026-11-30T08:53:32.000000+00:00'
    before = dict(plain)
    assert sign_head(plain, key) == sign_head(plain, key)
    assert plain == before
