"""Runs a program at a terminal of its own: waits for words, types others, prints all that was shown and the status."""
import json, os, pty, select, signal, sys, time

script, argv = json.loads(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(argv[0], argv)
shown, at, deadline = b'', 0, time.monotonic() + 40

def more(seconds):
    global shown
    ready, _, _ = select.select([fd], [], [], seconds)
    if not ready:
        return True
    try:
        piece = os.read(fd, 65536)
    except OSError:
        return False
    shown += piece
    return piece != b''

alive = True
for step in script:
    wanted = step['wait'].encode()
    while alive and shown.find(wanted, at) < 0 and time.monotonic() < deadline:
        alive = more(0.2)
    found = shown.find(wanted, at)
    if found < 0:
        break
    at = found + len(wanted)
    if step.get('close'):
        os.close(fd)
        os.kill(pid, signal.SIGHUP)
        alive = False
        break
    os.write(fd, step['type'].encode())
while alive and time.monotonic() < deadline:
    alive = more(0.2)
if time.monotonic() >= deadline:
    os.kill(pid, signal.SIGKILL)
_, status = os.waitpid(pid, 0)
print(json.dumps({'shown': shown.decode('utf8', 'replace'), 'status': os.waitstatus_to_exitcode(status)}))
