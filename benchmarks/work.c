/*
 * Work without end whose amount can be read out of the guest's memory: `work KIND TOKEN`.
 *
 * One page holds the sixteen letters of TOKEN, each with its highest bit set so that no other copy
 * of the argument looks the same, and then the number of units that are done.
 *
 * Kinds: `p` sums over a table (the processor alone), `s` reads and writes a byte (two system
 * calls), `d` writes 4 KiB to /dev/vda past the page cache. A Linux program without a C library:
 * it has to be carried into the guest over a serial line.
 */

enum { READ = 0, WRITE = 1, OPEN = 2, PWRITE = 18, EXIT = 60 };
enum { WRITE_ONLY = 1, READ_WRITE = 2, DIRECT = 040000 };
enum { TOKEN = 16, TABLE = 4096, BLOCK = 4096, BLOCKS = 4096 };

static struct {
	char token[TOKEN];
	volatile unsigned long done;
} page __attribute__((aligned(4096)));

static char block[BLOCK] __attribute__((aligned(4096)));
static volatile unsigned table[TABLE];

static long call(long number, long a, long b, long c, long d)
{
	register long fourth __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
			 : "rcx", "r11", "memory");
	return result;
}

static int opened(const char *path, long flags)
{
	return call(OPEN, (long)path, flags, 0, 0);
}

static void sum(unsigned turn)
{
	unsigned at = turn;

	for (int i = 0; i < 2000; i++) {
		at = at * 1664525 + 1013904223;
		table[at % TABLE] += at;
	}
}

static void work(char kind)
{
	int zero = opened("/dev/zero", READ_WRITE), disk = opened("/dev/vda", WRITE_ONLY | DIRECT);

	for (unsigned turn = 0;; turn++) {
		long done = 1;

		if (kind == 'p')
			sum(turn);
		else if (kind == 's')
			done = call(READ, zero, (long)block, 1, 0) + call(WRITE, zero, (long)block, 1, 0) - 1;
		else
			done = call(PWRITE, disk, (long)block, BLOCK, (long)(turn % BLOCKS) * BLOCK) == BLOCK;
		if (done != 1)
			return;
		page.done++;
	}
}

__attribute__((used)) static void begin(char **stack)
{
	/* argc, argv[0], argv[1], argv[2] (System V ABI, x86-64, 3.4.1) */
	for (int i = 0; i < TOKEN && stack[3][i]; i++)
		page.token[i] = stack[3][i] | 0x80;
	work(stack[2][0]);
	call(EXIT, 1, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
