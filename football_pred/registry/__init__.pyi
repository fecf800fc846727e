from .registry import Registry as Registry
from .registry import ModelVersion as ModelVersion
from .promotion_gate import evaluate_challenger as evaluate_challenger
from .promotion_gate import GateDecision as GateDecision
