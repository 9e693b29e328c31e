#!/bin/busybox sh
# Init of the guest: gets its modules to work, then obeys the line that comes from outside.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs none /tmp
echo 0 >/proc/sys/kernel/kptr_restrict

while read -r module; do
	insmod "/modules/$module.ko" || echo "init: $module does not load"
done </modules/order

# Compressed memory as a disk: zram, zsmalloc and zstd_compress work on every write to it.
echo zstd >/sys/block/zram0/comp_algorithm
echo 64M >/sys/block/zram0/disksize
cat /proc/kallsyms >/tmp/text

compress() {
	while :; do
		dd if=/tmp/text of=/dev/zram0 bs=64k count=64 conv=fsync
		dd if=/dev/zram0 of=/dev/null bs=64k count=64 iflag=direct
	done >/dev/null 2>&1
}

mixture() {
	while :; do
		dd if=/dev/urandom of=/dev/null bs=64k count=32
		dd if=/dev/zero of=/dev/null bs=1 count=20000
		find /sys/devices -name none
		cp /tmp/text /tmp/copy
		usleep 100000
	done >/dev/null 2>&1
}

compress &
mixture &

# One command a line; its output comes back as base64 of gzip (of the applets for it, the one that
# every busybox has), then a line with a full stop.
for port in /dev/vport*; do
	exec 3<>"$port"
done
echo ready >&3
while read -r command <&3; do
	sh -c "$command" </dev/null 2>&1 | gzip -1 | uuencode -m - >&3
	echo . >&3
done
echo "init: the line is cut"
while :; do
	sleep 1000
done
