"Heads of the ledger at places outside: object stores, repositories, time stamps and calendars that work, fail, hang, lie and forget."

import base64
import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from football_pred.core.head_signing import create_signing_key, write_head_line
from football_pred.core.settings import Settings, secret_values
from football_pred.forecasts.anchor_stamps import OpenTimestampsPlace, TimeStampPlace
from football_pred.forecasts.anchor_stores import GitPlace, S3Access, S3Place
from football_pred.forecasts.anchoring import (
    AnchorError,
    AnchorUnavailable,
    check_publications,
    describe_worth,
    fetch_published_heads,
    publish_head,
)
from football_pred.jobs.anchor_places import configured_places
from tests.support.anchors import (
    AT,
    Authority,
    make_head,
    run_calendar,
    run_dripping,
    run_hanging,
    run_http,
)
from tests.support.services import free_port

FIRST, SECOND, REWRITTEN = make_head(3), make_head(4), make_head(3, 'cd')
NOW = datetime.now(UTC)  # of locks, which a store compares with its own clock


def nonsense(handler, body):
    return 200, b'<html>hello</html>'


@pytest.fixture
def down():
    "Address that nothing listens to."
    return f'http://127.0.0.1:{free_port()}'


# --- S3


@pytest.fixture
def client(object_store, monkeypatch):
    "Client of the object store, with the buckets `locked` and `open`, both empty."
    import boto3

    monkeypatch.setenv('AWS_DEFAULT_REGION', 'us-east-1')
    keys = {'aws_access_key_id': 'key', 'aws_secret_access_key': 'secret'}
    client = boto3.client('s3', endpoint_url=object_store, **keys)
    names = {'locked': f'locked-{os.urandom(4).hex()}', 'open': f'open-{os.urandom(4).hex()}'}
    client.create_bucket(Bucket=names['locked'], ObjectLockEnabledForBucket=True)
    client.create_bucket(Bucket=names['open'])
    client.names = names
    return client


def bucket_place(client, kind='locked', mode='COMPLIANCE', **options):
    access = S3Access(client.meta.endpoint_url, 'key', 'secret')
    url = f's3://{client.names[kind]}/league/heads'
    return S3Place(url, access, mode, **{'days': 30, 'seconds': 10} | options)


def objects(client, kind):
    return client.list_object_versions(Bucket=client.names[kind]).get('Versions', [])


def key_of(receipt):
    return receipt['url'].split('/', 3)[3]


@pytest.mark.parametrize('mode', ['COMPLIANCE', 'GOVERNANCE'])
def test_bucket_locks_a_head(client, mode):
    place = bucket_place(client, mode=mode)
    receipt = place.publish(FIRST, NOW)
    assert receipt['mode'] == mode
    assert abs(datetime.fromisoformat(receipt['until']) - NOW - timedelta(days=30)).days == 0
    assert place.check(FIRST, receipt) is None
    content = client.get_object(Bucket=client.names['locked'], Key=key_of(receipt))['Body'].read()
    assert content == write_head_line(FIRST)
    with pytest.raises(client.exceptions.ClientError, match='AccessDenied'):
        client.delete_object(
            Bucket=client.names['locked'], Key=key_of(receipt), VersionId=receipt['version']
        )


def test_head_is_written_once(client):
    place = bucket_place(client)
    receipt = place.publish(FIRST, NOW)
    assert place.publish(FIRST, NOW + timedelta(days=1)) == receipt
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda number: place.publish(SECOND, NOW), range(8)))
    assert len({item['version'] for item in receipts}) == 1
    assert len(objects(client, 'locked')) == 2
    assert place.fetch_heads() == [FIRST, SECOND]


def test_bucket_refuses_another_head_of_the_same_size(client):
    place = bucket_place(client)
    place.publish(FIRST, NOW)
    with pytest.raises(AnchorError, match='holds another head of 3 entries'):
        place.publish(REWRITTEN, NOW)
    assert place.fetch_heads() == [FIRST]
    other = make_head(3, 'cd', origin='1f' * 16)
    place.publish(other, NOW)
    assert sorted(head['root'] for head in place.fetch_heads()) == ['ab' * 32, 'cd' * 32]


def test_bucket_without_lock_is_reported(client):
    place = bucket_place(client, 'open')
    records, problems = publish_head(FIRST, [place], NOW)
    assert (records[0].receipt['until'], records[0].receipt['mode']) == ('', '')
    assert 'is not locked: the bucket does not keep object lock' in problems[0]
    assert len(problems) == 1
    unlocked = bucket_place(client, 'open', mode='none')
    assert unlocked.check(FIRST, records[0].receipt) is None
    assert 'not locked: whoever has its key can delete' in unlocked.describe()


def test_lock_that_was_cut_short_is_found(client):
    place = bucket_place(client)
    receipt = place.publish(FIRST, NOW)
    longer = receipt | {'until': (NOW + timedelta(days=900)).isoformat()}
    assert 'was cut short' in place.check(FIRST, longer)


def test_head_that_was_deleted_or_written_over_is_found(client):
    place = bucket_place(client, 'open', mode='none')
    bucket = client.names['open']
    receipt = place.publish(FIRST, NOW)
    client.put_object(Bucket=bucket, Key=key_of(receipt), Body=write_head_line(REWRITTEN))
    assert 'was rewritten' in place.check(FIRST, receipt)
    with pytest.raises(AnchorError, match='was rewritten'):
        place.publish(FIRST, NOW)
    client.put_object(Bucket=bucket, Key=key_of(receipt), Body=b'nonsense')
    with pytest.raises(AnchorError, match='holds no head'):
        place.fetch_heads()
    client.delete_object(Bucket=bucket, Key=key_of(receipt))
    assert 'was deleted' in place.check(FIRST, receipt)


def test_what_lies_over_a_locked_head_does_not_hide_it(client):
    place = bucket_place(client)
    bucket = client.names['locked']
    receipt = place.publish(FIRST, NOW)
    client.delete_object(Bucket=bucket, Key=key_of(receipt))  # leaves a marker
    assert (place.check(FIRST, receipt), place.fetch_heads()) == (None, [FIRST])
    assert place.publish(FIRST, NOW) == receipt
    client.put_object(Bucket=bucket, Key=key_of(receipt), Body=write_head_line(REWRITTEN))
    assert 'was rewritten' in place.check(FIRST, receipt)
    assert place.fetch_heads() == [FIRST, REWRITTEN]


def test_store_that_does_not_answer(client, down):
    with run_hanging() as hanging, run_http(nonsense) as nonsensical:
        for address, text in [
            (down, 'did not answer'),
            (hanging, 'did not answer'),
            (nonsensical, 'is not there after it was written'),
        ]:
            place = S3Place('s3://heads', S3Access(address, 'k', 's'), 'none', 30, seconds=0.5)
            with pytest.raises(AnchorUnavailable, match=text):
                place.publish(FIRST, NOW)
    missing = S3Place(
        's3://no-such-bucket', S3Access(client.meta.endpoint_url, 'k', 's'), 'none', 1
    )
    with pytest.raises(AnchorError, match='NoSuchBucket'):
        missing.publish(FIRST, NOW)


# --- git


def git(folder, *arguments, content=None):
    done = subprocess.run(
        ['git', '-c', 'user.name=x', '-c', 'user.email=x@example', *arguments],
        cwd=folder,
        input=content,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path):
    "Bare repository."
    git(tmp_path, 'init', '--quiet', '--bare', '--initial-branch=main', 'remote.git')
    return tmp_path / 'remote.git'


def tip_of(remote):
    return git(remote, 'rev-parse', 'main')


def test_heads_are_lines_of_a_repository(remote, tmp_path):
    place = GitPlace(f'file://{remote}', tmp_path / 'clones')
    receipts = [place.publish(head, AT) for head in (FIRST, SECOND)]
    december = make_head(5, at='2026-12-01T00:00:00.000000+00:00')
    place.publish(december, AT)
    files = git(remote, 'ls-tree', '-r', '--name-only', 'main').splitlines()
    assert files == ['heads/2026-11.jsonl', 'heads/2026-12.jsonl']
    lines = git(remote, 'show', 'main:heads/2026-11.jsonl')
    assert lines.encode() == write_head_line(FIRST) + b'\n' + write_head_line(SECOND)
    assert git(remote, 'log', '--format=%an|%cn|%s', '-1') == (
        'football_pred ledger|football_pred ledger|Head of 5 entries'
    )
    assert place.fetch_heads() == [FIRST, SECOND, december]
    assert [place.check(FIRST, receipts[0]), place.check(SECOND, receipts[1])] == [None, None]
    assert place.publish(FIRST, AT)['commit'] == tip_of(remote)
    assert git(remote, 'rev-list', '--count', 'main') == '3'


def test_remote_that_has_moved_is_gone_on_from(remote, tmp_path):
    here, there = (GitPlace(str(remote), tmp_path / name) for name in ('here', 'there'))
    here.publish(FIRST, AT)
    there.publish(SECOND, AT)
    work = tmp_path / 'work'
    git(tmp_path, 'clone', '--quiet', str(remote), 'work')
    (work / 'README.md').write_text('heads of a ledger')
    git(work, 'add', '.')
    git(work, 'commit', '--quiet', '-m', 'A page')
    git(work, 'push', '--quiet')
    here.publish(make_head(5), AT)
    assert [head['size'] for head in there.fetch_heads()] == [3, 4, 5]
    assert 'README.md' in git(remote, 'ls-tree', '--name-only', 'main')


def test_machines_that_push_at_the_same_time_lose_nothing(remote, tmp_path):
    places = [GitPlace(str(remote), tmp_path / str(number % 2)) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(place.publish, make_head(10 + number), AT)
            for number, place in enumerate(places)
        ]
    receipts = [job.result() for job in jobs]
    assert sorted(head['size'] for head in places[0].fetch_heads()) == [10, 11, 12, 13]
    for number, receipt in enumerate(receipts):
        assert places[0].check(make_head(10 + number), receipt) is None


def test_remote_with_another_head_is_a_problem(remote, tmp_path):
    GitPlace(str(remote), tmp_path / 'there').publish(REWRITTEN, AT)
    before = tip_of(remote)
    place = GitPlace(str(remote), tmp_path / 'here')
    with pytest.raises(AnchorError, match='holds another head of 3 entries'):
        place.publish(FIRST, AT)
    assert tip_of(remote) == before
    assert 'holds another head' in place.check(FIRST, {'commit': before})


def rewrite(remote, tmp_path):
    "Replace the branch by another history, as a forced push does."
    git(tmp_path, 'init', '--quiet', '--initial-branch=main', 'forger')
    git(tmp_path / 'forger', 'commit', '--quiet', '--allow-empty', '-m', 'Another history')
    git(tmp_path / 'forger', 'push', '--quiet', '--force', str(remote), 'main')


@pytest.mark.parametrize('how', ['rewritten', 'shortened', 'deleted', 'replaced'])
def test_remote_that_was_rewritten_is_a_problem(remote, tmp_path, how):
    place = GitPlace(str(remote), tmp_path / 'clones')
    place.publish(FIRST, AT)
    first = tip_of(remote)
    receipt = place.publish(SECOND, AT)
    if how == 'rewritten':
        rewrite(remote, tmp_path)
    elif how == 'shortened':
        git(remote, 'update-ref', 'refs/heads/main', first)
    elif how == 'deleted':
        git(remote, 'update-ref', '-d', 'refs/heads/main')
    else:
        subprocess.run(['rm', '-r', str(remote)], check=True)
        git(tmp_path, 'init', '--quiet', '--bare', 'remote.git')
    with pytest.raises(AnchorError, match='was rewritten: its branch main had commit'):
        place.publish(make_head(5), AT)
    with pytest.raises(AnchorError, match='was rewritten'):
        place.fetch_heads()
    assert 'has lost commit' in place.check(SECOND, receipt)
    if how in ('rewritten', 'shortened'):  # also told without the clone, by the receipt
        elsewhere = GitPlace(str(remote), tmp_path / 'elsewhere')
        assert 'has lost commit' in elsewhere.check(SECOND, receipt)


@pytest.mark.parametrize('seen_before', [True, False])
def test_line_that_a_commit_removed_is_a_problem(remote, tmp_path, seen_before):
    place = GitPlace(str(remote), tmp_path / 'clones')
    receipt = place.publish(FIRST, AT)
    git(tmp_path, 'clone', '--quiet', str(remote), 'work')
    (tmp_path / 'work/heads/2026-11.jsonl').write_text('')
    git(tmp_path / 'work', 'commit', '--quiet', '-a', '-m', 'Nothing here')
    git(tmp_path / 'work', 'push', '--quiet')
    if seen_before:
        with pytest.raises(AnchorError, match='1 heads were removed after'):
            place.publish(SECOND, AT)
        assert '1 heads were removed' in place.check(FIRST, receipt)
    else:
        elsewhere = GitPlace(str(remote), tmp_path / 'elsewhere')
        assert 'has lost the head of 3 entries' in elsewhere.check(FIRST, receipt)


def test_push_that_is_refused(remote, tmp_path):
    hook = remote / 'hooks/pre-receive'
    hook.write_text('#!/bin/sh\necho "this branch is protected" >&2\nexit 1\n')
    hook.chmod(0o755)
    place = GitPlace(str(remote), tmp_path / 'clones')
    with pytest.raises(AnchorError, match=r'refused the head: .*this branch is protected'):
        place.publish(FIRST, AT)
    hook.unlink()
    assert place.check(FIRST, place.publish(FIRST, AT)) is None


def test_push_whose_answer_was_lost_is_not_made_again(remote, tmp_path):
    "Killed after the push and before the commit was remembered."
    place = GitPlace(str(remote), tmp_path / 'clones')
    place.publish(FIRST, AT)
    [clone] = (tmp_path / 'clones').iterdir()
    place.publish(SECOND, AT)
    git(clone, 'update-ref', 'refs/heads/main', git(clone, 'rev-parse', 'main~1'))
    commit = tip_of(remote)
    assert place.publish(SECOND, AT)['commit'] == commit == git(clone, 'rev-parse', 'main')


def test_line_that_is_no_head_is_a_problem(remote, tmp_path):
    git(tmp_path, 'clone', '--quiet', str(remote), 'work')
    (tmp_path / 'work/heads').mkdir()
    (tmp_path / 'work/heads/2026-11.jsonl').write_text('{"size":3}\n')
    git(tmp_path / 'work', 'add', '.')
    git(tmp_path / 'work', 'commit', '--quiet', '-m', 'x')
    git(tmp_path / 'work', 'push', '--quiet', 'origin', 'HEAD:main')
    with pytest.raises(AnchorError, match='has a line that is no head'):
        GitPlace(str(remote), tmp_path / 'clones').publish(FIRST, AT)


def test_configuration_of_the_user_does_not_reach_commits(remote, tmp_path, monkeypatch):
    (tmp_path / 'hooks').mkdir()
    for name in ('pre-push', 'post-commit'):
        (tmp_path / 'hooks' / name).write_text(f'#!/bin/sh\ntouch {tmp_path}/hooked\n')
        (tmp_path / 'hooks' / name).chmod(0o755)
    (tmp_path / 'config').write_text(
        f'[core]\nhooksPath={tmp_path}/hooks\n[commit]\ngpgSign=true\n[user]\nname=somebody\n'
    )
    monkeypatch.setenv('GIT_CONFIG_GLOBAL', str(tmp_path / 'config'))
    monkeypatch.setenv('GIT_DIR', '/nonexistent')
    monkeypatch.setenv('GIT_AUTHOR_NAME', 'somebody')
    place = GitPlace(str(remote), tmp_path / 'clones')
    assert place.check(FIRST, place.publish(FIRST, AT)) is None
    monkeypatch.undo()
    assert git(remote, 'log', '--format=%an') == 'football_pred ledger'
    assert not (tmp_path / 'hooked').exists()


def test_password_goes_to_the_server_alone(tmp_path):
    headers = []

    def refuse(handler, body):
        headers.append(handler.headers.get('Authorization'))
        return 403, b'no'

    with run_http(refuse) as url:
        address = url.replace('://', '://writer:hu%20sh@')
        place = GitPlace(f'{address}/heads.git', tmp_path / 'clones')
        with pytest.raises(AnchorUnavailable, match='403') as failure:
            place.publish(FIRST, AT)
    assert headers == [f'Basic {base64.b64encode(b"writer:hu sh").decode()}']
    assert 'hu' not in str(failure.value).replace('http', '')
    for path in (tmp_path / 'clones').rglob('*'):
        assert not path.is_file() or b'hu' not in path.read_bytes().replace(b'http', b'')
    assert secret_values(Settings(home=tmp_path, anchor_git_url=address))[-1] == 'hu%20sh'


def test_redirect_does_not_lead_git_elsewhere(tmp_path):
    asked = []

    def notice(handler, body):
        asked.append(handler.path)
        return 404, b''

    def redirect(handler, body):
        handler.send_response(302)
        handler.send_header('Location', f'{elsewhere}{handler.path}')
        handler.send_header('Content-Length', '0')
        handler.end_headers()

    with (
        run_http(notice) as elsewhere,
        run_http(redirect) as url,
        pytest.raises(AnchorUnavailable, match='cannot be fetched'),
    ):
        GitPlace(f'{url}/heads.git', tmp_path / 'clones').publish(FIRST, AT)
    assert asked == []


def test_repository_that_does_not_answer(tmp_path, down):
    with run_hanging() as hanging, run_http(nonsense) as nonsensical:
        for address, text in [
            (down, 'cannot be fetched'),
            (nonsensical, 'refused the head'),
            (hanging, 'did not answer in time'),
        ]:
            place = GitPlace(f'{address}/heads.git', tmp_path / 'clones', seconds=3)
            kind = AnchorError if address == nonsensical else AnchorUnavailable
            with pytest.raises(kind, match=text):
                place.publish(FIRST, AT)


# --- time stamps


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('tsa') / 'authority', 'authority')


@pytest.fixture(scope='module')
def other_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp('tsa') / 'other', 'other')


RECENT = make_head(3, at=NOW.isoformat(timespec='microseconds'))


def test_authority_stamps_a_head(authority, tmp_path):
    with run_http(lambda handler, body: (200, authority.reply(body))) as url:
        place = TimeStampPlace(url, authority.certificates)
        receipt = place.publish(RECENT, NOW)
    assert abs(datetime.fromisoformat(receipt['stamped_at']) - NOW) < timedelta(hours=1)
    assert place.check(RECENT, receipt) is None
    (tmp_path / 'token').write_bytes(base64.b64decode(receipt['token']))
    (tmp_path / 'head').write_bytes(write_head_line(RECENT))
    authority.run(  # another program comes to the same
        *('ts', '-verify', '-in', str(tmp_path / 'token'), '-data', str(tmp_path / 'head')),
        *('-CAfile', 'root.pem'),
    )
    assert 'does not verify' in place.check(RECENT | {'size': 4}, receipt)
    assert 'stamped at' in place.check(
        RECENT, receipt | {'stamped_at': '2020-01-01T00:00:00+00:00'}
    )
    for token in ('', '!', 'MAA=', receipt['token'][:400]):
        assert place.check(RECENT, receipt | {'token': token}) is not None
    flipped = bytearray(base64.b64decode(receipt['token']))
    flipped[-10] ^= 1
    assert 'does not verify' in place.check(
        RECENT, receipt | {'token': base64.b64encode(flipped).decode()}
    )


def test_clock_that_is_ahead_is_reported(authority):
    ahead = make_head(3, at=(NOW + timedelta(days=300)).isoformat(timespec='microseconds'))
    with run_http(lambda handler, body: (200, authority.reply(body))) as url:
        records, problems = publish_head(ahead, [TimeStampPlace(url, authority.certificates)], NOW)
    assert len(records) == 1
    assert 'the clock of the machine that made the head was ahead' in problems[0]


def test_certificate_of_another_authority(authority, other_authority):
    with run_http(lambda handler, body: (200, other_authority.reply(body))) as url:
        place = TimeStampPlace(url, authority.certificates)
        with pytest.raises(AnchorError, match='does not verify'):
            place.publish(RECENT, NOW)
        receipt = TimeStampPlace(url, other_authority.certificates).publish(RECENT, NOW)
    assert 'does not verify' in place.check(RECENT, receipt)


def test_answer_to_another_question(authority):
    digest = hashlib.sha256(write_head_line(RECENT)).hexdigest()

    def with_other_nonce(handler, body):
        return 200, authority.reply(authority.query(digest))

    def with_other_digest(handler, body):
        return 200, authority.reply(body.replace(bytes.fromhex(digest), bytes(32)))

    for answer, text in [(with_other_nonce, 'Nonce'), (with_other_digest, 'Mismatch')]:
        with run_http(answer) as url:
            place = TimeStampPlace(url, authority.certificates)
            with pytest.raises(AnchorError, match=f'does not verify: .*{text}'):
                place.publish(RECENT, NOW)


def test_authority_that_rejects(authority):
    def reject(handler, body):
        return 200, authority.reply(b'nonsense')

    with run_http(reject) as url, pytest.raises(AnchorError, match='gave no time stamp'):
        TimeStampPlace(url, authority.certificates).publish(RECENT, NOW)


def fail(handler, body):
    return 500, b'broken'


def flood(handler, body):
    return 200, bytes(2_000_000)


def test_authority_that_does_not_answer(authority, down):
    with (
        run_hanging() as hanging,
        run_dripping() as dripping,
        run_http(nonsense) as nonsensical,
        run_http(fail) as failing,
        run_http(flood) as flooding,
    ):
        for address, text in [
            (down, 'did not answer'),
            (hanging, 'did not answer in 0.5 s'),
            (dripping, 'did not answer in 0.5 s'),
            (nonsensical, 'answered no time stamp'),
            (failing, 'answered HTTP 500'),
            (flooding, 'answered more than 1,000,000 bytes'),
        ]:
            seconds = 0.5 if 'in 0.5' in text else 10
            place = TimeStampPlace(address, authority.certificates, seconds)
            with pytest.raises(AnchorUnavailable, match=text):
                place.publish(RECENT, NOW)


def test_certificates_need_a_root(authority):
    leaf = (authority.folder / 'tsa.pem').read_bytes()
    for content in (leaf, b'', b'nonsense'):
        with pytest.raises(ValueError, match=r'certificate|PEM'):
            TimeStampPlace('https://tsa.example', content)


# --- OpenTimestamps


def test_calendar_takes_a_head_and_completes_the_proof():
    with run_calendar() as calendar:
        place = OpenTimestampsPlace([calendar.url])
        receipt = place.publish(FIRST, AT)
        assert (receipt['pending'], receipt['calendars']) == (True, [calendar.url])
        assert place.check(FIRST, receipt) is None
        assert place.upgrade(receipt) is None
        calendar.is_mined = True
        upgraded = place.upgrade(receipt)
    assert upgraded is not None
    root = hashlib.sha256(b'\x01' * 32 + calendar.commitments[0]).digest()
    assert upgraded['blocks'] == [{'height': 925_000, 'merkle_root': root[::-1].hex()}]
    assert (upgraded['pending'], place.check(FIRST, upgraded)) == (False, None)
    assert place.upgrade(upgraded) is None
    assert 'is not of the head' in place.check(SECOND, upgraded)
    assert 'leads to' in place.check(FIRST, upgraded | {'blocks': []})
    assert 'cannot be read' in place.check(FIRST, upgraded | {'proof': receipt['proof'][:40]})


def test_proof_is_that_of_an_ots_file():
    from opentimestamps.core.op import OpSHA256
    from opentimestamps.core.serialize import BytesDeserializationContext
    from opentimestamps.core.timestamp import DetachedTimestampFile

    with run_calendar() as calendar:
        receipt = OpenTimestampsPlace([calendar.url]).publish(FIRST, AT)
    content = base64.b64decode(receipt['proof'])
    proof = DetachedTimestampFile.deserialize(BytesDeserializationContext(content))
    assert proof.file_hash_op == OpSHA256()
    assert proof.file_digest == hashlib.sha256(write_head_line(FIRST)).digest()


def test_one_calendar_of_two_is_enough(down):
    with run_calendar() as calendar:
        place = OpenTimestampsPlace([down, calendar.url])
        receipt = place.publish(FIRST, AT)
    assert receipt['calendars'] == [calendar.url]
    assert len(receipt['problems']) == 1
    assert 'did not answer' in receipt['problems'][0]
    with pytest.raises(AnchorUnavailable, match='did not answer'):
        place.publish(FIRST, AT)


def test_calendar_that_is_not_given_is_not_asked():
    asked = []

    def notice(handler, body):
        asked.append(handler.path)
        return 404, b''

    with run_calendar() as calendar, run_http(notice) as inside:
        calendar.uri = inside
        place = OpenTimestampsPlace([calendar.url])
        receipt = place.publish(FIRST, AT)
        with pytest.raises(AnchorUnavailable, match='it is not asked'):
            place.upgrade(receipt)
    assert asked == []


def leads_nowhere(handler, body):
    from opentimestamps.core.notary import UnknownAttestation
    from opentimestamps.core.timestamp import Timestamp

    from tests.support.anchors import serialize

    timestamp = Timestamp(body)
    timestamp.attestations.add(UnknownAttestation(b'whatever', b''))
    return 200, serialize(timestamp)


def test_calendar_that_does_not_answer(down):
    with (
        run_hanging() as hanging,
        run_dripping() as dripping,
        run_http(nonsense) as nonsensical,
        run_http(fail) as failing,
        run_http(lambda handler, body: (200, b'\xff' * 5000)) as deep,
        run_http(leads_nowhere) as idle,
    ):
        for address, text in [
            (down, 'did not answer'),
            (hanging, 'did not answer in 0.5 s'),
            (dripping, 'did not answer in 0.5 s'),
            (nonsensical, 'answered no proof'),
            (failing, 'answered HTTP 500'),
            (deep, 'answered no proof'),
            (idle, 'leads nowhere'),
        ]:
            place = OpenTimestampsPlace([address], 0.5 if 'in 0.5' in text else 10)
            with pytest.raises(AnchorUnavailable, match=text):
                place.publish(FIRST, AT)


def test_calendar_that_forgets_is_reported():
    with run_calendar() as calendar:
        place = OpenTimestampsPlace([calendar.url])
        receipt = place.publish(FIRST, AT)
        calendar.answer = None
    with pytest.raises(AnchorUnavailable, match='did not answer'):
        place.upgrade(receipt)


# --- all together


def test_all_places_take_a_signed_head(client, remote, authority, tmp_path):
    key = create_signing_key(tmp_path / 'home/ledger-key.pem')
    (tmp_path / 'tsa.pem').write_bytes(authority.certificates)
    head = make_head(1000, key=key, at=NOW.isoformat(timespec='microseconds'))
    with (
        run_http(lambda handler, body: (200, authority.reply(body))) as tsa,
        run_calendar() as calendar,
    ):
        settings = Settings(
            home=tmp_path / 'home',
            anchor_s3_url=f's3://{client.names["locked"]}/heads',
            anchor_s3_endpoint=client.meta.endpoint_url,
            anchor_s3_access_key='key',
            anchor_s3_secret_key='secret',
            anchor_git_url=str(remote),
            anchor_rfc3161_url=tsa,
            anchor_rfc3161_certificates=tmp_path / 'tsa.pem',
            anchor_opentimestamps_urls=calendar.url,
        )
        places = configured_places(settings)
        records, problems = publish_head(head, places, NOW)
        assert problems == []
        assert [record.place for record in records] == ['s3', 'git', 'rfc3161', 'opentimestamps']
        assert {(record.size, record.root) for record in records} == {(1000, 'ab' * 32)}
        assert publish_head(head, places, NOW, earlier=records) == ([], [])
        heads, failures = fetch_published_heads(places)
        assert failures == []
        assert heads == {'s3': [head], 'git': [head], 'rfc3161': [], 'opentimestamps': []}
        publications = [(head, record) for record in records]
        assert check_publications(publications, places) == ([], [])
        forged = head | {'root': 'cd' * 32}
        problems, failures = check_publications([(forged, record) for record in records], places)
        assert (sorted(text.split(':')[0] for text in problems), failures) == (
            ['git', 'opentimestamps', 'rfc3161', 's3'],
            [],
        )
    assert len(describe_worth(places, has_key=True)) == 5


def test_place_that_fails_does_not_stop_the_others(remote, tmp_path, down):
    with run_hanging() as hanging:
        places = [
            S3Place('s3://heads', S3Access(down, 'k', 's'), 'none', 30, seconds=5),
            OpenTimestampsPlace([hanging], seconds=600),
            GitPlace(str(remote), tmp_path / 'clones'),
        ]
        records, problems = publish_head(FIRST, places, AT, seconds=10)
    assert [record.place for record in records] == ['git']
    assert sorted(text.split(':')[0] for text in problems) == ['opentimestamps', 's3']
    assert 'opentimestamps: no answer in 10 s' in problems


def test_unforeseen_error_is_a_sentence(caplog):
    class BrokenPlace:
        name = 'broken'

        def publish(self, head, at):
            raise ZeroDivisionError('division by zero')

    records, problems = publish_head(FIRST, [BrokenPlace()], AT)
    assert (records, problems) == ([], ['broken: unforeseen ZeroDivisionError: division by zero'])
    assert 'Traceback' in caplog.text


def test_what_is_no_head_is_not_published(remote, tmp_path):
    place = GitPlace(str(remote), tmp_path / 'clones')
    for head in ({}, FIRST | {'size': -1}, FIRST | {'key': 'ab' * 32}):
        with pytest.raises(ValueError, match='head'):
            publish_head(head, [place], AT)
    assert git(remote, 'for-each-ref') == ''


@pytest.mark.parametrize(
    ('package', 'extra'),
    [('boto3.session', 'prod'), ('rfc3161_client', 'anchors'), ('opentimestamps', 'anchors')],
)
def test_missing_package_names_its_extra(monkeypatch, package, extra, authority):
    monkeypatch.setitem(sys.modules, package, None)
    places = {
        'boto3.session': S3Place('s3://heads', S3Access(), 'none', 30),
        'rfc3161_client': TimeStampPlace('https://tsa.example', authority.certificates),
        'opentimestamps': OpenTimestampsPlace(['https://calendar.example']),
    }
    with pytest.raises(AnchorError, match=rf"pip install 'football_pred\[{extra}\]'"):
        places[package].publish(FIRST, AT)


def test_worth_is_said_plainly(tmp_path):
    alone = describe_worth([], has_key=False)
    assert 'can rewrite the ledger, its heads and its key together' in alone[0]
    assert 'Heads are not signed' in alone[1]
    stamps = describe_worth([OpenTimestampsPlace(['https://calendar.example'])], has_key=True)
    assert any('No place gives heads back' in text for text in stamps)
    pushed = describe_worth([GitPlace('https://u:hush@host/x.git', tmp_path)], has_key=True)
    assert not any('No place' in text or 'hush' in text for text in pushed)


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        'import sys, football_pred.forecasts.anchor_stamps, football_pred.forecasts.anchor_stores\n'
        'heavy = ["boto3", "botocore", "httpx", "anyio", "cryptography", "opentimestamps", '
        '"rfc3161_client"]\n'
        'print([name for name in heavy if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_nothing_is_left_running(tmp_path):
    before = {thread.name for thread in threading.enumerate()}
    with run_hanging() as hanging:
        place = GitPlace(f'{hanging}/heads.git', tmp_path / 'clones', seconds=1)
        with pytest.raises(AnchorUnavailable, match='in time'):
            place.publish(FIRST, AT)
        port = hanging.rpartition(':')[2]
        commands = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout
    assert [line for line in commands.splitlines() if f':{port}/heads.git' in line] == []
    assert {thread.name for thread in threading.enumerate()} <= before | {'anchoring'}
