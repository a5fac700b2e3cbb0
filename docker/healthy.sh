#!/bin/bash
# Whether the node in this container is alive. The image has bash, and needs no curl for one line.
set -eu
exec 3<>/dev/tcp/127.0.0.1/5000
printf 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
