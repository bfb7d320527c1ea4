"""Says of each FILE whether it is what its standard says: VALIDATE FILE..., each named *.cdx.json, *.spdx.json or
*.intoto.json. A line for each, `FILE: valid` or `FILE: ` and what is wrong with it. Asks no network."""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from spdx_python_model import v3_0_1 as spdx3


def cyclonedx(document):
    """By the JSON schema of the version that it says it has."""
    version = SchemaVersion.from_version(document["specVersion"])
    error = JsonStrictValidator(version).validate_str(json.dumps(document))
    if error:
        raise ValueError(f"{error.data.json_path}: {error.data.message}")


def spdx(document):
    """By the classes that SPDX generates from its model. Reading checks names, types and words, writing how many."""
    context = document["@context"]
    if context != "https://spdx.org/rdf/3.0.1/spdx-context.jsonld":
        raise ValueError(f"@context: {context} is not that of SPDX 3.0.1")
    elements = spdx3.SHACLObjectSet()
    spdx3.JSONLDDeserializer().deserialize_data(document, elements)
    imported = {i.externalSpdxId for d in elements.foreach_type(spdx3.SpdxDocument) for i in d.import_}
    lacking = elements.link() - imported
    if lacking:
        raise ValueError(f"neither here nor imported: {' '.join(sorted(lacking))}")
    spdx3.JSONLDSerializer().serialize_data(elements)


def in_toto(document):
    """By the messages of the attestation framework, and what is in it by its own standard."""
    statement = json_format.ParseDict(document, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    predicate = document["predicate"]
    match statement.predicate_type:
        case "https://slsa.dev/provenance/v1":
            slsa(predicate)
        case "https://cyclonedx.org/bom":
            cyclonedx(predicate)
        case "https://spdx.dev/Document/v3":
            spdx(predicate)


def slsa(predicate):
    provenance = json_format.ParseDict(predicate, provenance_pb2.Provenance())
    definition = provenance.build_definition
    # The messages cannot say what is required.
    for name, value in [
        ("buildDefinition.buildType", definition.build_type),
        ("buildDefinition.externalParameters", definition.HasField("external_parameters")),
        ("runDetails.builder.id", provenance.run_details.builder.id),
    ]:
        if not value:
            raise ValueError(f"{name} is required")


def main(paths):
    standards = {".cdx.json": cyclonedx, ".spdx.json": spdx, ".intoto.json": in_toto}
    for path in paths:
        (check,) = [check for ending, check in standards.items() if path.endswith(ending)]
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        try:
            check(document)
            print(f"{path}: valid")
        except Exception as error:
            print(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}")


main(sys.argv[1:])
