"""The interface document of version 2: the official one, with the operations that clients need and it lacks."""

from importlib.resources import files

from renkei.api.iri._http import Call, Operation, Reply


def operation(root: str) -> Operation:
    """Return the operation that shows the document, below `root`."""
    document = files("renkei.api.iri").joinpath("openapi_v2.json").read_bytes()

    async def get_document(call: Call) -> Reply:
        del call
        return Reply(document)

    return Operation("GET", f"{root}/openapi.json", "getDocument", get_document, is_open=True)
