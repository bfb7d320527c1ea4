"""A command line for the OpenLineage client: URL STATE RUN INPUTS OUTPUTS, with datasets as JSON: a list of
[NAMESPACE, NAME] or [NAMESPACE, NAME, VERSION]."""

import json
import sys

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import dataset_version_dataset
from openlineage.client.transport.http import HttpConfig, HttpTransport

url, state, run, inputs, outputs = sys.argv[1:]


def dataset(kind, namespace, name, version=None):
    facets = {"version": dataset_version_dataset.DatasetVersionDatasetFacet(version)} if version else {}
    return kind(namespace=namespace, name=name, facets=facets)


OpenLineageClient(transport=HttpTransport(HttpConfig(url=url))).emit(
    RunEvent(
        eventType=RunState[state],
        eventTime="2026-11-20T09:14:03.120000+00:00",
        run=Run(runId=run),
        job=Job(namespace="airflow", name="train"),
        inputs=[dataset(InputDataset, *described) for described in json.loads(inputs)],
        outputs=[dataset(OutputDataset, *described) for described in json.loads(outputs)],
        producer="https://example.com/trainer",
    )
)
