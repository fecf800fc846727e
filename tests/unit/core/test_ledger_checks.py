"Checks of a ledger: honest histories pass, and every forgery is caught by the sentence that fits it."

import ast
import copy
import hashlib
import http.server
import json
import random
import re
import shutil
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from football_pred.core import ledger_checks
from football_pred.core.ledger_checks import (
    LedgerChecker,
    canonical_text,
    check_head,
    check_receipt,
    parse_object,
    peak_nodes,
    read_entry,
    row_seal,
    score_forecast,
    score_models,
    verify_ed25519,
    verify_export,
    verify_main,
)
from tests.support.ledger_texts import (
    LedgerTexts,
    canonical,
    honest_ledger,
    migrated_ledger,
    moment,
    random_ledger,
    scores_of,
    seal_of,
)
from tests.unit.core.test_ledger_tree import GrownTree

SOURCE = Path(ledger_checks.__file__)


def check(ledger: LedgerTexts, kept: list | None = None, texts: list[str] | None = None):
    "Check a ledger against its own heads, and against heads that a reader kept."
    checker = LedgerChecker(payloads={payload['sha256'] for payload in ledger.payloads})
    checker.expect_heads(ledger.heads, 'heads.jsonl', [ledger.public_key])
    checker.expect_heads(kept or [], 'the head that you kept')
    for text in texts or ledger.texts():
        checker.check_entry(text)
    checker.finish()
    return checker


# Standing alone


def test_it_imports_the_standard_library_alone():
    imported = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).partition('.')[0])
    assert imported <= sys.stdlib_module_names


def run_alone(folder: Path, *arguments: object) -> subprocess.CompletedProcess:
    "Run the program from a folder that holds nothing else of the project."
    shutil.copy(SOURCE, folder / 'verify_ledger.py')
    command = [sys.executable, '-I', 'verify_ledger.py', *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def alone(tmp_path):
    folder = tmp_path / 'alone'
    folder.mkdir()
    return folder


def test_the_program_describes_an_honest_ledger(alone, tmp_path):
    ledger = honest_ledger()
    export = ledger.write(tmp_path / 'export')
    result = run_alone(alone, export, '--key', ledger.public_key)
    assert (result.returncode, result.stderr) == (0, '')
    for words in (
        'No problem found.',
        f'entries 1 to {len(ledger.entries)} of {len(ledger.entries)}',
        'signed, key',
        'dixon_coles',
        '4 corrections',
        'the anchor at git',
    ):
        assert words in result.stdout
    assert 'compare it with one from elsewhere' not in result.stdout


def test_the_program_says_what_no_key_and_no_signature_are_worth(alone, tmp_path):
    ledger = honest_ledger()
    export = ledger.write(tmp_path / 'export')
    assert 'The key stands in the export itself' in run_alone(alone, export).stdout
    for head in ledger.heads:
        head |= {'key': None, 'signature': None}
    ledger.write(export)
    result = run_alone(alone, export)
    assert result.returncode == 0
    assert 'worth only as much as the copy that you kept' in result.stdout
    ledger.heads = ledger.anchors = []
    ledger.write(export)
    assert 'Heads: none.' in run_alone(alone, export).stdout


def test_a_forgery_ends_with_1_and_nothing_readable_with_2(alone, tmp_path):
    ledger = honest_ledger()
    ledger.entries[8]['content']['p_home'] = 0.9
    result = run_alone(alone, ledger.write(tmp_path / 'export'))
    assert result.returncode == 1
    assert 'Entry 9 (forecast, Arsenal - Chelsea, 2026-08-02, match E0-0)' in result.stdout
    for arguments in (
        ['missing'],
        [],
        ['a', 'b'],
        ['--key'],
        [tmp_path],
        [alone / 'verify_ledger.py'],
    ):
        result = run_alone(alone, *arguments)
        assert result.returncode == 2
        assert result.stderr
        assert 'Traceback' not in result.stderr


def test_a_receipt_is_checked_alone(alone):
    ledger = honest_ledger()
    receipt = ledger.receipt(8)
    (alone / 'receipt.json').write_text(json.dumps(receipt))
    result = run_alone(alone, 'receipt.json', '--key', ledger.public_key)
    assert (result.returncode, result.stderr) == (0, '')
    assert 'is signed' in result.stdout
    receipt['entry']['content']['p_home'] = 0.9
    (alone / 'receipt.json').write_text(json.dumps(receipt))
    result = run_alone(alone, 'receipt.json')
    assert result.returncode == 1
    assert 'its proof does not lead' in result.stdout


# Honest histories


@pytest.mark.parametrize('start', range(0, 500, 50))
def test_random_honest_histories_have_no_problem(start):
    for seed in range(start, start + 50):
        checker = check(random_ledger(seed))
        assert checker.problems == [], seed


def test_restores_are_noted_with_the_entry_that_says_so():
    ledger = honest_ledger()
    ledger.restore(21)
    ledger.wait(hours=1)
    ledger.forecast(40)
    ledger.head()
    checker = check(ledger)
    assert checker.problems == []
    assert any('entry 22' in note and 'went on from a backup' in note for note in checker.notes)


def test_a_ledger_from_before_the_log_says_what_rests_on_its_author():
    ledger = migrated_ledger(4, 3)
    ledger.wait(hours=1)
    ledger.forecast(1)
    checker = check(ledger)
    assert checker.problems == []
    assert any('4 live forecasts' in note and "author's word" in note for note in checker.notes)
    assert [row.unwitnessed for row in score_models(checker.state)] == [3]


def test_clocks_of_migrated_rows_may_go_backwards():
    ledger = migrated_ledger(9, 0)
    checker = check(ledger)
    assert checker.problems == []
    assert any('older than the one before them' in note for note in checker.notes)


def test_the_scoreboard_is_the_latest_live_forecast_of_each_match():
    ledger = honest_ledger()
    rows = {row.model: row for row in score_models(check(ledger).state)}
    latest = {}
    for entry in ledger.of_kind('forecast'):
        content = entry['content']
        if content['kind'] == 'live' and ledger.last_settlement(content['prediction_id']):
            latest[content['model'], content['match_id']] = content
    for model, row in rows.items():
        settled = [
            ledger.last_settlement(content['prediction_id'])
            for key, content in latest.items()
            if key[0] == model
        ]
        assert row.matches == len(settled) == 6
        assert row.hit_rate == sum(one['hit'] for one in settled) / 6
        assert row.rps == pytest.approx(sum(one['rps'] for one in settled) / 6)
        assert row.log_loss == pytest.approx(sum(one['log_loss'] for one in settled) / 6)


def test_seals_and_scores_are_those_of_the_library():
    from datetime import datetime

    import numpy as np

    from football_pred.evaluation.scoring import brier_by_match, log_loss_by_match, rps_by_match
    from football_pred.forecasts.ledger import compute_seal, compute_settlement_seal

    ledger = honest_ledger()
    forecast = ledger.entries[8]['content']
    columns = {name: value for name, value in forecast.items() if name != 'kind'}
    for name in ('kickoff', 'as_of', 'created_at'):
        columns[name] = datetime.fromisoformat(columns[name])
    assert row_seal(forecast) == compute_seal(columns) == forecast['seal']
    settlement = ledger.last_settlement(forecast['prediction_id'])
    columns = {name: value for name, value in settlement.items() if name != 'payload_sha256'}
    columns['settled_as_of'] = datetime.fromisoformat(columns['settled_as_of'])
    seal = compute_settlement_seal(columns, forecast['seal'])
    assert row_seal(settlement, forecast['seal']) == seal == settlement['seal']
    dice = np.random.default_rng(0)
    p = dice.dirichlet([1, 1, 1], 300)
    codes = dice.integers(0, 3, 300)
    goals = [(1, 0), (1, 1), (0, 1)]
    scores = [
        score_forecast(row, 'draw', *goals[code])
        for row, code in zip(p.tolist(), codes, strict=True)
    ]
    for name, values in (
        ('rps', rps_by_match(p, codes)),
        ('log_loss', log_loss_by_match(p, codes)),
        ('brier', brier_by_match(p, codes)),
    ):
        assert [getattr(score, name) for score in scores] == pytest.approx(
            values.tolist(), abs=1e-12
        )


def test_rows_are_read_alike_by_both_readers():
    "The fast reader of rows gives what JSON gives, or leaves the line to it."
    dice = random.Random(0)
    texts = [text for seed in range(60) for text in random_ledger(seed).texts()]
    read = 0
    for text in texts:
        place = dice.randrange(len(text))
        damaged = text[:place] + dice.choice('0"e.-,x\\é \x7f') + text[place + dice.randint(0, 1) :]
        for line in (text, damaged):
            row = ledger_checks._read_row(line)
            if row is not None:
                read += 1
                assert read_entry(line) == (row, None)
                columns = (
                    ledger_checks.FORECAST_TYPES
                    if row['kind'] == 'forecast'
                    else ledger_checks.SETTLEMENT_TYPES
                )
                assert ledger_checks.column_problems(row['content'], columns) == []
    assert read > 150


# Forgeries. Each changes an honest ledger of 60 entries: 1 opening, 2 to 5 models, then for each of
# six matches three forecasts, a fourth and four settlements; corrections, a replay, a last forecast.
# `reseal` is a forger with the whole database, `republish` the author with the key.


def content_of(ledger: LedgerTexts, number: int) -> dict:
    return ledger.entries[number - 1]['content']


def change(number: int, **columns: object):
    def forge(ledger):
        content_of(ledger, number).update(columns)

    return forge


def change_and_reseal(number: int, **columns: object):
    def forge(ledger):
        content_of(ledger, number).update(columns)
        ledger.reseal()
        ledger.republish()

    return forge


def rewrite_results(ledger):
    for entry in ledger.of_kind('settlement', 'correction'):
        entry['content'] |= {'home_goals': 3, 'away_goals': 0}
    ledger.reseal()
    ledger.republish()


def second_revisions(ledger):
    "A revision of every settlement in the author's favour."
    ledger.wait(hours=1)
    for entry in ledger.of_kind('settlement'):
        content = entry['content']
        forecast = next(
            other['content']
            for other in ledger.of_kind('forecast')
            if other['content']['prediction_id'] == content['prediction_id']
        )
        last = ledger.last_settlement(content['prediction_id'])
        added = ledger.score(
            forecast,
            last['revision'] + 1,
            last['home_goals'],
            last['away_goals'],
            content['payload_sha256'],
        )
        added['content'] |= {'hit': True, 'rps': 0.0}
        added['content']['seal'] = seal_of(added['content'], forecast_seal=forecast['seal'])


def drop_settlement(ledger):
    del ledger.entries[9]
    for entry in ledger.of_kind('correction'):
        assert entry['content']['revision'] == 2
    ledger.reseal()
    ledger.republish()


def late_forecast(ledger):
    "Sealed after the whistle, with the clock set back for its own row."
    ledger.wait(hours=8)
    ledger.forecast(
        8, ledger.clock - timedelta(hours=3), created_at=ledger.clock - timedelta(hours=4)
    )


def clock_set_back(ledger):
    ledger.clock -= timedelta(days=300)
    ledger.forecast(8)


def backdated_after_a_head(ledger):
    "The log was silent from Friday to Sunday; the head of Saturday gives the hour away."
    ledger.wait(hours=24)
    ledger.head()
    ledger.clock -= timedelta(hours=20)
    ledger.forecast(8)


def swap(ledger):
    ledger.entries[20], ledger.entries[21] = ledger.entries[21], ledger.entries[20]


def insert_replay_early(ledger):
    ledger.entries.insert(9, copy.deepcopy(ledger.entries[-1]))


def settle_otherwise(ledger):
    for payload in ledger.payloads:
        payload['sha256'] = hashlib.sha256(payload['sha256'].encode()).hexdigest()


def settlement_before_forecast(ledger):
    ledger.entries.insert(5, ledger.entries.pop(9))
    ledger.reseal_numbers()


def cut_tail(ledger):
    del ledger.entries[50:]


def opening_twice(ledger):
    ledger.add('opening', content_of(ledger, 1))


def no_opening(ledger):
    del ledger.entries[0]


def more_taken_over(ledger):
    content_of(ledger, 1).update(forecasts=20, settlements=35)
    ledger.republish()


def false_restore(ledger):
    "A restore that names fewer entries than the head that it wants to be rid of."
    heads = ledger.heads
    ledger.heads = heads[:3]
    ledger.restore(20)
    ledger.heads = heads


def restore_before_the_head(ledger):
    "A restore of yesterday does not excuse a head of today."
    ledger.wait(hours=-200)
    ledger.restore(20)


def live_after_result(ledger):
    ledger.forecast(1)


def two_results(ledger):
    content_of(ledger, 10).update(home_goals=9)
    ledger.reseal()
    ledger.republish()


def duplicate_id(ledger):
    content_of(ledger, 60)['prediction_id'] = content_of(ledger, 58)['prediction_id']
    ledger.reseal()
    ledger.republish()


def foreign_heads(ledger):
    ledger.heads = honest_ledger(seed=1).heads


def forged_signature(ledger):
    ledger.heads[4]['at'] = moment(ledger.clock + timedelta(hours=1))


def two_heads(ledger):
    head = ledger.heads[4] | {'key': None, 'signature': None, 'root': 'ab' * 32}
    ledger.heads.insert(4, head)


def hidden_loss(ledger):
    "All of a match that went badly."
    del ledger.entries[13:21]
    ledger.reseal()
    ledger.republish()


FORGERIES = [
    (
        change(6, p_home=0.99),
        r'Entry 6 \(forecast, Arsenal - Chelsea, .* match E0-0\): its seal is not',
    ),
    (change(6, p_home=0.99), r'Entry 6 .*do not sum to 1'),
    (change(6, kickoff='2027-01-01T00:00:00.000000+00:00'), 'Entry 6 .*its seal is not'),
    (change(6, seal='ab' * 32), r'Entry 7 .*its previous_seal is not the seal'),
    (
        change_and_reseal(6, as_of='2027-01-01T00:00:00.000000+00:00'),
        'Entry 6 .*its as_of .* is not before kick-off',
    ),
    (
        change_and_reseal(6, predicted_result='draw', confidence=1.0),
        r'Entry 6 .*(is not the most|is not its largest)',
    ),
    (change_and_reseal(6, predicted_result='win'), 'Entry 6 .*its predicted_result is win'),
    (change_and_reseal(6, kind='sure'), 'Entry 6 .*its kind is sure'),
    (
        change_and_reseal(6, created_at='2026-08-01T10:00:00.000000+00:00'),
        'Entry 6 .*before it was made',
    ),
    (
        change_and_reseal(60, created_at='2026-08-01T10:00:00.000000+00:00', kind='live'),
        'Entry 60 .*before the forecast that precedes it',
    ),
    (change_and_reseal(6, p_home=float('nan')), 'Entry 6: it is not JSON: NaN'),
    (change(6, p_home='0.5'), 'Entry 6 .*its p_home is 0.5, expected a number'),
    (change_and_reseal(6, odds=2.5), 'Entry 6 .*unknown column odds'),
    (change(10, home_goals=9), 'Entry 10 .*Arsenal - Chelsea.*(its seal is not|its outcome is)'),
    (change(10, rps=0.0), 'Entry 10 .*its rps is 0.0, but the probabilities and 2-0 give'),
    (change(10, hit=None), 'Entry 10 .*its hit is None, expected a truth'),
    (change(10, log_loss=float('inf')), 'Entry 10 .*its log_loss is inf'),
    (change(10, revision=2), 'Entry 10 .*its revision is 2, expected 1'),
    (change(10, prediction_id='nobody'), 'Entry 10 .*scores the forecast nobody, which no earlier'),
    (change(10, home_goals=-1), 'Entry 10 .*its home_goals is -1'),
    (change(10, home_goals=True), 'Entry 10 .*its home_goals is True'),
    (rewrite_results, r'a correction without cause'),
    (second_revisions, r'a correction without cause'),
    (second_revisions, 'its hit is True, but|its rps is 0.0, but'),
    (drop_settlement, r'Entry 6 \(forecast, Arsenal.*it has no score, though entry'),
    (late_forecast, r'Entry 61 .*it is called live, but was recorded at .*not before kick-off'),
    (
        clock_set_back,
        r'Entry 61 .*says that it was recorded at .*before the entry that precedes it',
    ),
    (clock_set_back, r'Entry 61 .*says that it was made at .*before the forecast'),
    (
        backdated_after_a_head,
        r'Entry 61 .*but the head of .* lacks it: it was entered later than it says',
    ),
    (swap, 'Entry 21 .*its number is 22, expected 21'),
    (insert_replay_early, 'Entry 10 .*its sequence is'),
    (settle_otherwise, r'Entry 10 .*the payload .* is not in payloads.jsonl'),
    (cut_tail, 'entries 51 to 60 were removed from the end'),
    (opening_twice, 'Entry 61 .*only entry 1 opens'),
    (no_opening, 'Entry 1 .*begins with a registration'),
    (more_taken_over, 'among the entries that were made before the log|not as many forecasts'),
    (false_restore, 'the log was rewritten|were removed from the end'),
    (restore_before_the_head, 'the log was rewritten|were removed from the end'),
    (live_after_result, 'Entry 61 .*had settled its match already'),
    (two_results, r'it is scored by \d-\d, and another forecast of the match by'),
    (duplicate_id, 'Entry 60 .*was used before'),
    (foreign_heads, 'is of another ledger'),
    (forged_signature, 'Head 5 of heads.jsonl: its signature is wrong'),
    (two_heads, 'the log was rewritten: heads.jsonl'),
    (change(2, version=None), r'Entry 2 \(registration\): its version is None, expected a text'),
    (change(1, origin='mine'), 'Entry 1 .*its origin is mine'),
    (change(1, version=2), 'Entry 1 .*its version is 2'),
]


@pytest.mark.parametrize(
    ('forge', 'sentence'),
    FORGERIES,
    ids=[f'{at}-{forge.__name__}' for at, (forge, _) in enumerate(FORGERIES)],
)
def test_a_forgery_is_caught(forge, sentence):
    ledger = honest_ledger()
    assert check(ledger).problems == []
    forge(ledger)
    problems = check(ledger).problems
    assert any(re.search(sentence, problem) for problem in problems), problems[:5]


@pytest.mark.parametrize(
    'forge',
    [hidden_loss, change_and_reseal(6, run_id='x'), change_and_reseal(56, run_id='x'), cut_tail],
)
def test_an_author_who_rewrites_everything_is_caught_by_a_kept_head(forge):
    ledger = honest_ledger()
    kept = ledger.heads[-1]
    forge(ledger)
    ledger.reseal()
    ledger.heads = [head for head in ledger.heads if head['size'] <= len(ledger.entries)]
    ledger.republish()
    own = check(ledger).problems
    assert not any('rewritten' in problem or 'removed' in problem for problem in own)
    problems = check(ledger, [kept]).problems
    assert any(
        re.search('the log was rewritten: the head that you kept|removed from the end', problem)
        for problem in problems
    )


def test_every_changed_byte_is_caught():
    "A byte of any entry, at a random place: the roots differ even where all rules hold."
    ledger = honest_ledger()
    dice = random.Random(0)
    for _ in range(60):
        texts = ledger.texts()
        number = dice.randrange(len(texts))
        place = dice.randrange(len(texts[number]))
        character = dice.choice([one for one in '0a" ,}' if one != texts[number][place]])
        texts[number] = texts[number][:place] + character + texts[number][place + 1 :]
        assert any('the log was rewritten' in one for one in check(ledger, texts=texts).problems)


LINES = [
    ('', 'it is not JSON'),
    ('{', 'it is not JSON'),
    ('[]', 'it is not an object'),
    ('7', 'it is not an object'),
    ('{"a":1}', 'its fields are not'),
    ('[' * 200_000, 'it is nested too deeply'),
    ('{"content":' * 3000 + '1' + '}' * 3000, 'it is nested too deeply|its fields are not'),
    ('{"entry":' + '9' * 5000 + '}', 'it is not JSON'),
    ('{"content":{},"entry":2,"kind":"forecast","recorded_at":7}', 'its recorded_at is 7'),
    ('{"content":[],"entry":2,"kind":"forecast","recorded_at":"x"}', 'its content is'),
    ('{"content":{},"entry":2,"kind":["x"],"recorded_at":"x"}', "its kind is"),
    ('{"content":{},"entry":true,"kind":"restore","recorded_at":"x"}', 'its number is True'),
    (
        '{"content":{},"entry":2,"entry":2,"kind":"restore","recorded_at":"x"}',
        'holds the key entry twice',
    ),
    ('{"content":{},"entry":2,"kind":"\x1b[2J","recorded_at":"x"}', 'it is not JSON'),
    (
        '{"content":{},"entry":2,"kind":"\\u001b[2J\\ud800","recorded_at":"x"}',
        r'its kind is \\x1b\[2J\\ud800',
    ),
    ('\udcff\udcfe', 'it is not JSON'),
    ('"' + 'x' * 2_000_000 + '"', 'it is longer than'),
]


@pytest.mark.parametrize(('line', 'sentence'), LINES, ids=range(len(LINES)))
def test_a_bad_line_is_a_sentence(line, sentence):
    ledger = LedgerTexts()
    checker = check(ledger, texts=[*ledger.texts(), line])
    assert checker.problems
    assert any(re.search(sentence, problem) for problem in checker.problems), checker.problems
    assert all(problem.startswith('Entry 2') for problem in checker.problems)
    assert all(problem.isprintable() for problem in checker.problems)


@pytest.mark.parametrize(
    'disguise',
    [
        lambda text: text.replace(',', ', '),
        lambda text: text + ' ',
        lambda text: text + '\r',
        lambda text: text.replace('\\u00e1', 'á'),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(',', ':')),
        lambda text: text.replace('"home_rate":0.', '"home_rate":00.').replace('1.25', '1.250'),
    ],
)
def test_a_line_that_is_not_its_canonical_form_is_a_problem(disguise):
    ledger = LedgerTexts()
    ledger.forecast(1)
    texts = ledger.texts()
    texts[1] = disguise(texts[1])
    problems = check(ledger, texts=texts).problems
    assert any(re.search('canonical form|not JSON', problem) for problem in problems)


def test_problems_beyond_a_thousand_are_counted():
    ledger = LedgerTexts()
    checker = check(ledger, texts=[*ledger.texts(), *['{}'] * 1500])
    assert (len(checker.problems), checker.omitted) == (1000, 500)


# Going on from a head


def test_a_checker_goes_on_from_a_trusted_head():
    ledger = honest_ledger()
    tree = GrownTree(ledger.leaves())
    by_id: dict[str, list] = {}
    for entry in ledger.entries:
        by_id.setdefault(entry['content'].get('prediction_id', ''), []).append(entry)
    for head in ledger.heads:
        size = head['size']
        earlier = ledger.entries[:size]
        forecasts = [entry for entry in earlier if entry['kind'] == 'forecast']

        def find_earlier(prediction_id, size=size):
            return [entry for entry in by_id[prediction_id] if entry['entry'] <= size]

        peaks = [tree.nodes[peak] for peak in peak_nodes(size)]
        checker = LedgerChecker(head, peaks, [*forecasts[-1:], earlier[-1]], find_earlier)
        checker.expect_heads(ledger.heads)
        for entry in ledger.entries[size:]:
            checker.check_entry(entry)
        checker.finish()
        assert checker.problems == []
        assert checker.state.frontier.root() == tree.roots[-1]
        assert checker.counts.total() == len(ledger.entries) - size


def test_a_forgery_after_a_trusted_head_is_caught():
    ledger = honest_ledger()
    head = ledger.heads[0]
    tree = GrownTree(ledger.leaves())
    peaks = [tree.nodes[peak] for peak in peak_nodes(head['size'])]
    ledger.entries[8]['content']['previous_seal'] = '0' * 64
    checker = LedgerChecker(head, peaks, ledger.entries[7:8])
    for entry in ledger.entries[8:]:
        checker.check_entry(entry)
    checker.finish()
    assert any('Entry 9 ' in problem and 'previous_seal' in problem for problem in checker.problems)
    assert any('before the head and were not recomputed' in note for note in checker.notes)
    with pytest.raises(ValueError, match='peaks'):
        LedgerChecker(head, [bytes(32)] * len(peaks))


# Signatures


def test_signatures_agree_with_another_implementation():
    dice = random.Random(0)
    for _ in range(60):
        key = Ed25519PrivateKey.from_private_bytes(dice.randbytes(32))
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        message = dice.randbytes(dice.randint(0, 200))
        signature = key.sign(message)
        assert verify_ed25519(public, message, signature)
        damaged = bytearray(signature)
        damaged[dice.randrange(64)] ^= 1 << dice.randrange(8)
        assert not verify_ed25519(public, message, bytes(damaged))
        assert not verify_ed25519(public, message + b'x', signature)


def is_accepted(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


SMALL_ORDER = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '0100000000000000000000000000000000000000000000000000000000000080',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
]


def test_malformed_signatures():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key.sign(b'message')
    order = 2**252 + 27742317777372353535851937790883648493
    response = int.from_bytes(signature[32:], 'little')
    cases = [signature[:32] + (response + order).to_bytes(32, 'little')]
    cases += [signature[:63], signature + b'\0', b'', bytes(64), signature[32:] + signature[:32]]
    cases += [bytes.fromhex(point) + signature[32:] for point in SMALL_ORDER]
    cases += [bytes.fromhex(point) + bytes(32) for point in SMALL_ORDER]
    cases += [b'\xff' * 32 + signature[32:]]
    for case in cases:
        assert not verify_ed25519(public, b'message', case)
        assert not is_accepted(public, b'message', case)
    for length in (0, 31, 33, 64):
        assert not verify_ed25519(bytes(length), b'message', signature)


def test_keys_of_small_order_verify_nothing():
    "Another implementation may accept them: under such a key one signature fits many messages."
    accepted = 0
    for public in map(bytes.fromhex, SMALL_ORDER):
        for number in range(16):
            signature = bytes.fromhex(SMALL_ORDER[0]) + bytes(32)
            accepted += is_accepted(public, b'%d' % number, signature)
            assert not verify_ed25519(public, b'%d' % number, signature)
    assert accepted


def test_what_a_head_is_signed_with():
    ledger = honest_ledger()
    head = ledger.heads[0]
    assert check_head(head, [ledger.public_key]) == 'signed'
    assert check_head(head, ['ab' * 32]) == 'signed with a key that is not among yours'
    assert check_head(head | {'signature': None}) == 'unsigned'
    for name, value in (
        ('size', head['size'] + 1),
        ('root', 'ab' * 32),
        ('at', moment(ledger.clock)),
        ('origin', 'x'),
        ('key', 'ab' * 32),
        ('size', '3'),
        ('size', -1),
        ('root', None),
        ('at', 'now'),
        ('key', None),
        ('key', 'x'),
        ('signature', 'x'),
        ('origin', 3),
    ):
        with pytest.raises(ValueError, match=r'^its? '):
            check_head(head | {name: value})


def test_a_key_that_signed_no_head_is_a_problem(tmp_path):
    ledger = honest_ledger()
    checker = verify_export(ledger.write(tmp_path), public_keys=['ab' * 32])
    assert checker.problems == ['no head that the log matches is signed with a key that you gave']


# Receipts


def test_every_entry_has_a_receipt():
    ledger = honest_ledger()
    for number in range(1, len(ledger.entries) + 1):
        findings = check_receipt(ledger.receipt(number), ledger.heads[-1:], [ledger.public_key])
        assert findings.problems == []
        assert 'It is the head that you kept.' in findings.notes


def test_a_receipt_says_whether_its_head_is_from_before_kick_off():
    ledger = LedgerTexts()
    ledger.forecast(1)
    ledger.head()
    ledger.anchor('s3')
    notes = ' '.join(check_receipt(ledger.receipt(2)).notes)
    assert 'from before kick-off' in notes
    assert 'stand at s3' in notes
    ledger.wait(hours=9)
    ledger.head()
    assert 'from after kick-off' in ' '.join(check_receipt(ledger.receipt(2)).notes)


RECEIPTS = [
    (lambda r: r['entry']['content'].update(p_home=0.9), 'its seal is not'),
    (lambda r: r['entry'].update(entry=9), 'does not lead'),
    (lambda r: r['entry'].update(entry=99), 'is beyond its head'),
    (lambda r: r['entry'].update(entry=0), 'its number is 0'),
    (lambda r: r['proof'].pop(), 'does not lead'),
    (lambda r: r['proof'].append('ab' * 32), 'does not lead'),
    (lambda r: r['proof'].append(7), 'its proof is not a list of digests'),
    (lambda r: r.update(proof=None), 'its proof is None'),
    (lambda r: r.update(entry=None), 'its entry is None'),
    (lambda r: r.pop('head'), 'its head is None'),
    (lambda r: r['head'].update(root='ab' * 32), 'its signature is wrong'),
    (lambda r: r['head'].update(signature=None), 'its head is unsigned'),
    (lambda r: r['head'].update(signature=None, root='ab' * 32), 'does not lead'),
    (
        lambda r: r.update(anchors=[{'place': 's3', 'at': 'x', 'size': 1, 'root': 'x'}]),
        'is of another head',
    ),
    (lambda r: r.update(anchors=[{}]), 'lacks at, place, root, size'),
    (lambda r: r.update(anchors=7), 'are not a list'),
    (lambda r: r['entry'].update(kind=7), 'its kind is 7'),
    (lambda r: r['entry'].update(content={}), 'it lacks the column as_of'),
]


@pytest.mark.parametrize(('forge', 'sentence'), RECEIPTS, ids=range(len(RECEIPTS)))
def test_a_forged_receipt_is_caught(forge, sentence):
    ledger = honest_ledger()
    receipt = ledger.receipt(8)
    forge(receipt)
    problems = check_receipt(receipt, public_keys=[ledger.public_key]).problems
    assert any(re.search(f'^The receipt: .*{sentence}', problem) for problem in problems), problems


def test_a_receipt_of_another_log_is_caught_by_a_kept_head():
    ledger = honest_ledger()
    kept = copy.deepcopy(ledger.heads[-1])
    ledger.entries[6]['content']['run_id'] = 'other'
    ledger.reseal()
    ledger.republish()
    receipt = ledger.receipt(9)
    assert check_receipt(receipt).problems == []
    problems = check_receipt(receipt, [kept]).problems
    assert problems == ['The receipt: its head is not the one that you kept: there are two ledgers']


def test_a_receipt_of_a_late_forecast_shows_nothing():
    ledger = honest_ledger()
    late_forecast(ledger)
    ledger.head()
    problems = check_receipt(ledger.receipt(61)).problems
    assert any('not before kick-off' in problem for problem in problems)


# Exports


def test_a_torn_line_of_heads_is_a_note_and_one_in_between_is_not(tmp_path):
    ledger = honest_ledger()
    export = ledger.write(tmp_path)
    path = export / 'heads.jsonl'
    text = path.read_text()
    path.write_text(text + text[:77])
    checker = verify_export(export)
    assert checker.problems == []
    assert any('torn' in note for note in checker.notes)
    path.write_text(text[:77] + '\n' + text)
    assert any('Line 1 of heads.jsonl' in problem for problem in verify_export(export).problems)
    path.write_text(text + text[:77] + '\n')
    assert any('heads.jsonl' in problem for problem in verify_export(export).problems)


def test_missing_files_are_noted(tmp_path):
    export = honest_ledger().write(tmp_path)
    for name in ('heads', 'payloads', 'anchors'):
        (export / f'{name}.jsonl').unlink()
    checker = verify_export(export)
    assert checker.problems == []
    notes = ' '.join(checker.notes)
    assert all(f'There is no {name}.jsonl' in notes for name in ('heads', 'payloads', 'anchors'))


def test_bad_lines_of_the_other_files_are_sentences(tmp_path):
    export = honest_ledger().write(tmp_path)
    (export / 'anchors.jsonl').write_text(
        '{}\n{"size":3}\n7\n{"size":1,"root":"%s"}\n' % ('ab' * 32)
    )
    (export / 'payloads.jsonl').write_text('{"sha256":3}\n')
    (export / 'heads.jsonl').write_text('{}\n' + '[' * 100_000 + '\n')
    problems = ' '.join(verify_export(export).problems)
    for sentence in (
        'Anchor 1 of',
        'Anchor 2 of',
        'Line 3 of anchors',
        'the digest 3',
        'Head 1 of',
        'nested',
    ):
        assert sentence in problems


def test_an_anchor_may_be_younger_than_the_entries_after_its_head(tmp_path):
    ledger = honest_ledger()
    ledger.wait(hours=1)
    ledger.forecast(8)
    ledger.wait(hours=1)
    ledger.anchor()
    assert verify_export(ledger.write(tmp_path)).problems == []


def test_an_anchor_of_another_log_is_a_problem(tmp_path):
    ledger = honest_ledger()
    ledger.anchors[0]['root'] = 'ab' * 32
    problems = verify_export(ledger.write(tmp_path)).problems
    assert any('the log was rewritten: the anchor at git' in problem for problem in problems)


@pytest.mark.parametrize(
    'name', ['entries.jsonl', 'heads.jsonl', 'payloads.jsonl', 'anchors.jsonl']
)
def test_a_folder_in_place_of_a_file(tmp_path, capsys, name):
    export = honest_ledger().write(tmp_path)
    (export / name).unlink()
    (export / name).mkdir()
    assert verify_main([str(export)]) == 2
    assert capsys.readouterr().err


def test_empty_entries_cannot_be_checked(tmp_path, capsys):
    export = honest_ledger().write(tmp_path)
    (export / 'entries.jsonl').write_text('')
    assert verify_main([str(export)]) == 2
    assert 'is empty' in capsys.readouterr().err


def test_a_huge_line_ends_the_reading(tmp_path):
    export = LedgerTexts().write(tmp_path)
    with (export / 'entries.jsonl').open('a') as file:
        file.write('x' * 5_000_000 + '\n')
    problems = verify_export(export).problems
    assert problems == ['Entry 2: it is longer than 1,000,000 characters']


# The command line


def test_heads_from_files_receipts_and_hexadecimal_digits(tmp_path, capsys):
    ledger = honest_ledger()
    export = ledger.write(tmp_path / 'export')
    (tmp_path / 'head.json').write_text(json.dumps(ledger.heads[3], indent=1))
    (tmp_path / 'receipt.json').write_text(json.dumps(ledger.receipt(4)))
    shutil.copy(export / 'heads.jsonl', tmp_path / 'kept.jsonl')
    seal = ledger.entries[8]['content']['seal']
    roots = [ledger.heads[3]['root'], LedgerTexts.head(ledger, False)['root'], seal]
    sources = [tmp_path / 'head.json', tmp_path / 'receipt.json', tmp_path / 'kept.jsonl', *roots]
    assert verify_main([str(export), *[f'--head={source}' for source in sources]]) == 0
    assert 'the head that you kept: entries 1 to 60 of 60' in capsys.readouterr().out
    assert verify_main([str(export), '--head', 'ab' * 32]) == 1
    assert 'at no size has it the root abababababababab' in capsys.readouterr().out
    for source in ('missing.json', export / 'entries.jsonl', export / 'nothing', tmp_path):
        assert verify_main([str(export), '--head', str(source)]) == 2
        assert capsys.readouterr().err


def test_a_root_of_any_size_is_found(tmp_path, capsys):
    ledger = honest_ledger()
    export = ledger.write(tmp_path)
    ledger.entries = ledger.entries[:37]
    root = ledger.head()['root']
    assert verify_main([str(export), '--head', root]) == 0
    capsys.readouterr()


def test_keys_from_files(tmp_path, capsys):
    ledger = honest_ledger()
    export = ledger.write(tmp_path / 'export')
    public = ledger.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / 'key.pem').write_bytes(pem)
    (tmp_path / 'key.txt').write_text(f'the key is {ledger.public_key}\n')
    for source in (tmp_path / 'key.pem', tmp_path / 'key.txt', ledger.public_key.upper()):
        assert verify_main([str(export), '--key', str(source)]) == 0
    (tmp_path / 'key.txt').write_text('none')
    assert verify_main([str(export), '--key', str(tmp_path / 'key.txt')]) == 2
    assert 'holds no Ed25519 public key' in capsys.readouterr().err


def test_a_head_from_an_address(tmp_path, capsys):
    ledger = honest_ledger()
    export = ledger.write(tmp_path)
    content = json.dumps(ledger.heads[-1]).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == '/head' else 404)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f'http://127.0.0.1:{server.server_port}'
    try:
        assert verify_main([str(export), '--head', f'{url}/head']) == 0
        ledger.entries[30]['content']['run_id'] = 'x'
        ledger.write(export)
        assert verify_main([str(export), '--head', f'{url}/head']) == 1
        assert verify_main([str(export), '--head', f'{url}/other']) == 2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert 'HTTP Error 404' in capsys.readouterr().err


def test_names_cannot_write_on_the_terminal(tmp_path, capsys):
    ledger = LedgerTexts()
    forecast = ledger.forecast(1)['content']
    forecast['home_team'] = 'A\x1b[2J\nNo problem found.\r'
    forecast['model'] = 'M\x1b]0;x\x07'
    assert verify_main([str(ledger.write(tmp_path))]) == 1
    lines = capsys.readouterr().out.split('\n')
    assert 'No problem found.' not in lines
    assert all(line.isprintable() for line in lines)


def test_canonical_texts_hold_no_nan():
    assert canonical_text({'b': 1, 'a': [None, True, 'é']}) == '{"a":[null,true,"\\u00e9"],"b":1}'
    assert parse_object(canonical_text({'loss': float('inf')})) == {'loss': float('inf')}
    for value in ({'p': float('nan')}, {'p': [float('-inf')]}):
        with pytest.raises(ValueError, match='is no number'):
            canonical_text(value)
    entry = random_ledger(3).entries[-1]
    assert canonical_text(entry) == canonical(entry)
    assert scores_of(
        {'p_home': 0.0, 'p_draw': 0.5, 'p_away': 0.5, 'predicted_result': 'draw'}, 1, 0
    )['log_loss'] == float('inf')
