"""A command line for the ORAS library, which has none: COMMAND http://TARGET|https://TARGET [ARGUMENT...]."""

import sys

from oras.client import OrasClient

command, target, *arguments = sys.argv[1:]
scheme, target = target.split("://")
client = OrasClient(insecure=scheme == "http")
if command == "push":
    client.push(target=target, files=arguments, quiet=True)
elif command == "push-chunked":
    client.push(target=target, files=arguments, quiet=True, do_chunked=True, chunk_size=1 << 20)
elif command == "pull":
    (folder,) = arguments
    client.pull(target=target, outdir=folder)
elif command == "tags":
    print("\n".join(client.get_tags(target)))
elif command == "delete":
    deleted = client.delete_tags(target, arguments)
    assert deleted == arguments, deleted
else:
    sys.exit(f"{command} is none of the commands")
