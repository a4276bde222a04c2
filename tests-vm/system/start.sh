#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes of a guest whose root is a CD one in which FreeBSD's startup scripts run: /etc,
# /var, /tmp and /jails can be written, and modules are found by name.

set -e

if mount | grep -q ' on /etc '; then
	exit 0
fi
mount -t tmpfs tmpfs /tmp
mkdir /tmp/etc
cp -Rp /etc/. /tmp/etc/
for folder in /etc /var /jails; do
	mount -t tmpfs tmpfs ${folder}
done
cp -Rp /tmp/etc/. /etc/
rm -rf /tmp/etc
mkdir -p /var/run /var/log /var/tmp /var/db /var/empty
sysctl kern.module_path="/klds;/modules" > /dev/null
ifconfig lo0 127.0.0.1/8 up
