"Packed models of the last release are unpacked, verified and forecast the same to the last bit."

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from football_pred.models.serialization import packed_model_version, unpack_model

DATA = Path(__file__).parents[2] / 'data'
CLASSES = {'packed_dixon_coles': 'DixonColes', 'packed_staged_model': 'StackedRatings'}


def read_packed_model(name):
    "Content, version, fixtures and forecasts of a packed model of the release before."
    record = json.loads((DATA / f'{name}.json').read_text())
    return record | {'content': record['content'].encode()}


@pytest.mark.parametrize('name', CLASSES)
def test_packed_model_is_read(name):
    record = read_packed_model(name)
    assert packed_model_version(record['content']) == record['version']
    model, trained_on = unpack_model(record['content'], record['version'])
    assert type(model).__name__ == CLASSES[name]
    assert trained_on == {'matches': 60}
    probabilities = model.predict_proba(pl.DataFrame(record['fixtures']))
    assert np.array_equal(probabilities, np.array(record['probabilities']))


def test_staged_model_was_written_under_its_old_name():
    document = json.loads(read_packed_model('packed_staged_model')['content'])
    assert document['class'] == document['model']['model'] == 'StagedModel'
