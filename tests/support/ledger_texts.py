"Ledgers as texts, written without the library: honest ones, and the hands that forge them."

import copy
import hashlib
import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

START = datetime(2026, 8, 1, 9, tzinfo=UTC)
TEAMS = ('Arsenal', 'Chelsea', 'Málaga', 'Atlético "B"', 'Köln', 'Ajax')
Entry = dict[str, Any]


def moment(at: datetime) -> str:
    return at.isoformat(timespec='microseconds')


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(',', ':'))


def digest(value: object) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def seal_of(row: Entry, **more: Any) -> str:
    outside = ('seal', 'kind', 'payload_sha256')
    return digest({name: value for name, value in row.items() if name not in outside} | more)


def tree_root(leaves: list[bytes]) -> bytes:
    "By levels: pairs are joined, and an odd last node moves up."
    level = leaves or [hashlib.sha256(b'').digest()]
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b'\x01' + level[at] + level[at + 1]).digest()
            for at in range(0, len(level) - 1, 2)
        ]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def inclusion_proof(leaves: list[bytes], index: int) -> list[str]:
    "PATH of RFC 6962, section 2.1.1."
    if len(leaves) == 1:
        return []
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    if index < middle:
        return [*inclusion_proof(leaves[:middle], index), tree_root(leaves[middle:]).hex()]
    return [*inclusion_proof(leaves[middle:], index - middle), tree_root(leaves[:middle]).hex()]


def scores_of(forecast: Entry, home_goals: int, away_goals: int) -> Entry:
    p = [forecast['p_home'], forecast['p_draw'], forecast['p_away']]
    code = 0 if home_goals > away_goals else 2 if home_goals < away_goals else 1
    happened = [float(code == other) for other in range(3)]
    label = ('home_win', 'draw', 'away_win')[code]
    return {
        'outcome': ('home', 'draw', 'away')[code],
        'hit': label == forecast['predicted_result'],
        'rps': ((p[0] - happened[0]) ** 2 + (p[2] - happened[2]) ** 2) / 2,
        'log_loss': -math.log(p[code]) if p[code] else math.inf,
        'brier': sum((a - b) ** 2 for a, b in zip(p, happened, strict=True)),
    }


def probability_columns(p_home: float, p_draw: float) -> Entry:
    p = [p_home, p_draw, 1 - p_home - p_draw]
    return {
        'p_home': p[0],
        'p_draw': p[1],
        'p_away': p[2],
        'predicted_result': ('home_win', 'draw', 'away_win')[p.index(max(p))],
        'confidence': max(p),
    }


class LedgerTexts:
    "A ledger that is written entry by entry; `clock` moves as its methods are called."

    def __init__(self, forecasts: int = 0, settlements: int = 0, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.clock = START
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b'%d' % seed).digest())
        self.origin = f'{self.random.getrandbits(128):032x}'
        self.entries: list[Entry] = []
        self.heads: list[Entry] = []
        self.anchors: list[Entry] = []
        self.payloads: list[Entry] = []
        self.taken_over = forecasts + settlements
        content: Entry = {'version': 1, 'origin': self.origin}
        if self.taken_over:
            content |= {'forecasts': forecasts, 'settlements': settlements}
        self.add('opening', content)

    @property
    def public_key(self) -> str:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def wait(self, **amount: float) -> None:
        self.clock += timedelta(**amount)

    def add(self, kind: str, content: Entry) -> Entry:
        entry = {
            'entry': len(self.entries) + 1,
            'kind': kind,
            'recorded_at': moment(self.clock),
            'content': content,
        }
        self.entries.append(entry)
        return entry

    def of_kind(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry['kind'] in kinds]

    def forecast(
        self,
        match: int,
        kickoff: datetime | None = None,
        kind: str = 'live',
        model: str = 'dixon_coles',
        created_at: datetime | None = None,
        p_home: float | None = None,
        p_draw: float | None = None,
    ) -> Entry:
        kickoff = kickoff or self.clock + timedelta(hours=5)
        created_at = created_at or self.clock
        as_of = min(created_at, kickoff - timedelta(hours=1))
        shares = [0.1 + self.random.random() for _ in range(3)]
        home, draw = shares[0] / sum(shares), shares[1] / sum(shares)
        earlier = self.of_kind('forecast')
        rates = (None, None) if model == 'boosting' else (self.random.random(), 1.25)
        content = {
            'sequence': len(earlier) + 1,
            'prediction_id': digest([match, model, moment(as_of), len(earlier)])[:32],
            'match_id': f'E0-{match}',
            'league': 'E0',
            'season': '2026-2027',
            'home_team': TEAMS[match % len(TEAMS)],
            'away_team': TEAMS[(match + 1) % len(TEAMS)],
            'kickoff': moment(kickoff),
            'model': model,
            'model_version': digest(model)[:16],
            'as_of': moment(as_of),
            'created_at': moment(created_at),
            **probability_columns(
                home if p_home is None else p_home, draw if p_draw is None else p_draw
            ),
            'home_rate': rates[0],
            'away_rate': rates[1],
            'data_fingerprint': digest('data'),
            'feature_fingerprint': digest('features'),
            'run_id': f'predict-{len(earlier)}',
            'previous_seal': earlier[-1]['content']['seal'] if earlier else '0' * 64,
            'kind': kind,
        }
        content['seal'] = seal_of(content)
        return self.add('forecast', content)

    def settle(self, match: int, home_goals: int, away_goals: int) -> list[Entry]:
        "Score every forecast of a match that has no score from this result."
        payload = digest([match, home_goals, away_goals])
        self.payloads.append({'sha256': payload, 'source': 'football_data_uk', 'url': 'https://x'})
        added = []
        for forecast in [
            entry
            for entry in self.of_kind('forecast')
            if entry['content']['match_id'] == f'E0-{match}'
        ]:
            last = self.last_settlement(forecast['content']['prediction_id'])
            goals = last and (last['home_goals'], last['away_goals'])
            if goals != (home_goals, away_goals):
                revision = last['revision'] + 1 if last else 1
                added.append(
                    self.score(forecast['content'], revision, home_goals, away_goals, payload)
                )
        return added

    def score(
        self, forecast: Entry, revision: int, home_goals: int, away_goals: int, payload: str | None
    ) -> Entry:
        content = {
            'prediction_id': forecast['prediction_id'],
            'revision': revision,
            'settled_as_of': moment(self.clock),
            'home_goals': home_goals,
            'away_goals': away_goals,
            **scores_of(forecast, home_goals, away_goals),
            'run_id': f'settle-{len(self.entries)}',
            'payload_sha256': None if len(self.entries) <= self.taken_over else payload,
        }
        content['seal'] = seal_of(content, forecast_seal=forecast['seal'])
        return self.add('settlement' if revision == 1 else 'correction', content)

    def last_settlement(self, prediction_id: str) -> Entry | None:
        found = [
            entry['content']
            for entry in self.of_kind('settlement', 'correction')
            if entry['content']['prediction_id'] == prediction_id
        ]
        return found[-1] if found else None

    def register(self, model: str = 'dixon_coles') -> Entry:
        content = {'model': model, 'version': digest(model)[:16], 'league': 'E0'}
        more = {'digest': digest(model), 'trained_on': digest('data')}
        return self.add('registration', content | more)

    def promote(self, model: str = 'dixon_coles') -> Entry:
        content = {'model': model, 'version': digest(model)[:16], 'league': 'E0'}
        return self.add('promotion', content | {'role': 'champion'})

    def texts(self) -> list[str]:
        return [canonical(entry) for entry in self.entries]

    def leaves(self) -> list[bytes]:
        return [hashlib.sha256(b'\x00' + text.encode()).digest() for text in self.texts()]

    def head(self, is_signed: bool = True) -> Entry:
        "Publish a head of all entries."
        head: Entry = {
            'origin': self.origin,
            'size': len(self.entries),
            'root': tree_root(self.leaves()).hex(),
            'at': moment(self.clock),
            'key': self.public_key if is_signed else None,
        }
        message = b'football_pred ledger head v1\n' + canonical(head).encode()
        head['signature'] = self.key.sign(message).hex() if is_signed else None
        self.heads.append(head)
        return head

    def anchor(self, place: str = 'git') -> Entry:
        head = self.heads[-1]
        record = {
            'size': head['size'],
            'root': head['root'],
            'place': place,
            'at': moment(self.clock),
        }
        self.anchors.append(record | {'receipt': {}})
        return self.anchors[-1]

    def receipt(self, number: int) -> Entry:
        "The receipt of an entry under the latest head."
        head = self.heads[-1]
        proof = inclusion_proof(self.leaves()[: head['size']], number - 1)
        anchors = [anchor for anchor in self.anchors if anchor['size'] == head['size']]
        return copy.deepcopy(
            {'entry': self.entries[number - 1], 'proof': proof, 'head': head, 'anchors': anchors}
        )

    def restore(self, size: int) -> Entry:
        "Go on from a backup of the first entries, and name the largest head that may be lost."
        lost = max(self.heads, key=lambda head: head['size'])
        self.entries = self.entries[:size]
        self.wait(microseconds=1)  # a restore is later than every head that it may give up
        return self.add('restore', {'size': lost['size'], 'root': lost['root'], 'backup': 'b1'})

    def reseal(self) -> None:
        "What a forger with the whole database does: number, chain, seal and score all rows again."
        seal = '0' * 64
        forecasts = {}
        for number, entry in enumerate(self.entries, 1):
            entry['entry'] = number
            content = entry['content']
            if entry['kind'] == 'forecast':
                content['sequence'] = len(forecasts) + 1
                content['previous_seal'] = seal
                seal = content['seal'] = seal_of(content)
                forecasts[content['prediction_id']] = content
            elif entry['kind'] in ('settlement', 'correction'):
                forecast = forecasts[content['prediction_id']]
                content |= scores_of(forecast, content['home_goals'], content['away_goals'])
                content['seal'] = seal_of(content, forecast_seal=forecast['seal'])

    def republish(self) -> None:
        "What the author does, who has the key: heads of the same times over the new entries."
        heads, entries = self.heads, self.entries
        self.heads, clock = [], self.clock
        for head in heads:
            self.clock = datetime.fromisoformat(head['at'])
            self.entries = entries[: head['size']]
            self.head()
        self.entries, self.clock = entries, clock

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'entries.jsonl').write_text(''.join(f'{text}\n' for text in self.texts()))
        for name in ('heads', 'payloads', 'anchors'):
            lines = [f'{canonical(value)}\n' for value in getattr(self, name)]
            (folder / f'{name}.jsonl').write_text(''.join(lines))
        return folder


def honest_ledger(seed: int = 0) -> LedgerTexts:
    "A small season: 6 matches, 3 models, replays, a correction, signed heads and an anchor."
    ledger = LedgerTexts(seed=seed)
    for model in ('dixon_coles', 'poisson', 'boosting'):
        ledger.register(model)
    ledger.promote()
    for match in range(6):
        kickoff = ledger.clock + timedelta(hours=30)
        for model in ('dixon_coles', 'poisson', 'boosting'):
            ledger.forecast(match, kickoff, model=model)
        ledger.head()
        ledger.wait(hours=25)
        ledger.forecast(match, kickoff)
        ledger.head()
        ledger.anchor()
        ledger.wait(hours=8)
        ledger.settle(match, 2 + match % 2, match % 3)
        ledger.head()
    ledger.wait(hours=1)
    ledger.settle(3, 0, 1)
    ledger.forecast(90, ledger.clock - timedelta(days=400), kind='replay')
    ledger.settle(90, 1, 1)
    ledger.wait(hours=1)
    ledger.forecast(7)
    ledger.head()
    return ledger


def random_ledger(seed: int) -> LedgerTexts:
    "A random honest history: takeovers, batches, corrections, heads, clock steps and restores."
    dice = random.Random(seed)
    ledger = LedgerTexts(seed=seed)
    if dice.random() < 0.3:
        ledger = migrated_ledger(dice.randint(1, 4), dice.randint(0, 3), seed)
    kickoffs: dict[int, datetime] = {}
    sizes = [len(ledger.entries)]  # ends of transactions, between which backups are taken
    for step in range(dice.randint(3, 25)):
        action = dice.choice(
            ['forecast', 'forecast', 'settle', 'correct', 'head', 'replay', 'model', 'restore']
        )
        ledger.wait(seconds=dice.choice([0, 0, 0.001, 3, 4000, 90_000]))
        if action == 'forecast':
            match = dice.choice([*kickoffs, 100 + step])
            kickoff = kickoffs.setdefault(
                match, ledger.clock + timedelta(hours=dice.randint(1, 90))
            )
            if ledger.clock < kickoff:
                for model in dice.sample(
                    ['dixon_coles', 'poisson', 'boosting'], dice.randint(1, 3)
                ):
                    ledger.forecast(
                        match,
                        kickoff,
                        model=model,
                        p_home=dice.choice([None, 0.0, 1.0]),
                        p_draw=0.0,
                    )
        elif action in ('settle', 'correct'):
            for match, kickoff in kickoffs.items():
                if ledger.clock > kickoff + timedelta(hours=2):
                    ledger.settle(match, dice.randint(0, 2) if action == 'correct' else 1, 0)
        elif action == 'head':
            ledger.head(is_signed=dice.random() < 0.8)
        elif action == 'replay':
            ledger.forecast(1000 + step, ledger.clock - timedelta(days=9), kind='replay')
            ledger.settle(1000 + step, dice.randint(0, 3), dice.randint(0, 3))
        elif action == 'model':
            dice.choice([ledger.register, ledger.promote])()
        elif ledger.heads:
            sizes = [size for size in sizes if size <= len(ledger.entries)]
            ledger.restore(dice.choice(sizes))
        sizes.append(len(ledger.entries))
    return ledger


def migrated_ledger(forecasts: int, settled: int, seed: int = 0) -> LedgerTexts:
    "A ledger that takes over rows from before the log: live ones whose matches are over."
    settled = min(settled, forecasts)
    ledger = LedgerTexts(forecasts, settled, seed)
    for number in range(forecasts):
        created_at = START - timedelta(days=30 - number % 5)
        ledger.forecast(500 + number, created_at + timedelta(days=1), created_at=created_at)
    for number in range(settled):
        ledger.settle(500 + number, 1, 0)
    return ledger
