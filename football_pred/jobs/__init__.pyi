from .job_spec import load_job as load_job
from .pipelines import run_pipeline as run_pipeline
from .runner import run_job as run_job
from .schedule import load_schedule as load_schedule
