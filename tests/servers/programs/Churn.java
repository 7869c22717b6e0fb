// Garbage, code that is compiled while it runs, and faults that the JVM means to have: in four
// threads, for as many seconds as the first argument says. Every round checks itself.

import java.lang.reflect.Proxy;
import java.security.MessageDigest;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongUnaryOperator;

public class Churn {
    static final AtomicLong ROUNDS = new AtomicLong();
    static final ConcurrentHashMap<Integer, byte[]> SHARED = new ConcurrentHashMap<>();
    static volatile Throwable failure;

    record Node(Node left, Node right, long weight) {}

    static Node tree(int depth, long seed) {
        if (depth == 0) return new Node(null, null, seed);
        return new Node(tree(depth - 1, seed * 31 + 1), tree(depth - 1, seed * 17 + 5), seed);
    }

    static long sum(Node node) {
        return node == null ? 0 : node.weight() + sum(node.left()) + sum(node.right());
    }

    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void trees(long seed) {
        long first = sum(tree(14, seed));
        check(first == sum(tree(14, seed)), "trees");
    }

    static void maps(long seed) {
        Map<String, Integer> hashed = new HashMap<>();
        TreeMap<String, Integer> sorted = new TreeMap<>();
        for (int at = 0; at < 20_000; at++) {
            String key = Long.toHexString(seed * 0x9E3779B97F4A7C15L + at * 7919L);
            hashed.merge(key, 1, Integer::sum);
            sorted.merge(key, 1, Integer::sum);
        }
        check(hashed.equals(sorted), "maps");
    }

    // A null pointer that is not looked for, but met: the JVM takes the host's fault.
    static void faults() {
        int met = 0;
        for (int at = 0; at < 2_000; at++) {
            Node node = at % 3 == 0 ? null : new Node(null, null, at);
            try {
                check(node.weight() == at, "weight");
            } catch (NullPointerException expected) {
                met++;
            }
            try {
                int zero = at % 5 == 0 ? 0 : 1;
                check(at / zero == at, "quotient");
            } catch (ArithmeticException expected) {
                met++;
            }
        }
        check(met == 667 + 400, "faults: " + met);
    }

    static int deep(int depth) {
        return 1 + deep(depth + 1);
    }

    static void overflow() {
        try {
            deep(0);
            check(false, "no end of the stack");
        } catch (StackOverflowError expected) {
            // The guard pages are there.
        }
    }

    static void digests(long seed) throws Exception {
        byte[] bytes = new byte[200_000];
        for (int at = 0; at < bytes.length; at++) bytes[at] = (byte) (seed + at * 31);
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        byte[] once = digest.digest(bytes);
        for (int at = 0; at < bytes.length; at += 1000) digest.update(bytes, at, 1000);
        check(Arrays.equals(once, digest.digest()), "digests");
    }

    static void compiled(long seed) {
        LongUnaryOperator[] steps = {x -> x * 3 + 1, x -> x ^ x >>> 7, x -> Long.rotateLeft(x, 13) + 5};
        long here = seed, there = seed;
        for (int at = 0; at < 300_000; at++) here = steps[at % 3].applyAsLong(here);
        for (int at = 0; at < 300_000; at++) {
            there = switch (at % 3) {
                case 0 -> there * 3 + 1;
                case 1 -> there ^ there >>> 7;
                default -> Long.rotateLeft(there, 13) + 5;
            };
        }
        check(here == there, "compiled");
        double one = 0;
        for (int at = 1; at < 100_000; at++) one += Math.sin(at) * Math.sin(at) + Math.cos(at) * Math.cos(at);
        check(Math.abs(one - 99_999) < 1e-6, "sines");
    }

    interface Named { String name(int of); }

    static void made() {
        Named named = (Named) Proxy.newProxyInstance(
            Churn.class.getClassLoader(), new Class<?>[] {Named.class},
            (self, method, arguments) -> method.getName() + arguments[0]);
        for (int at = 0; at < 1_000; at++) check(named.name(at).equals("name" + at), "proxies");
    }

    static void garbage(long seed) {
        ArrayDeque<byte[]> kept = new ArrayDeque<>();
        for (int at = 0; at < 4_000; at++) {
            byte[] bytes = new byte[(int) ((seed + at * 7919L) & 0x3fff) + 1];
            bytes[bytes.length - 1] = (byte) at;
            kept.add(bytes);
            if (kept.size() > 500) kept.poll();
        }
        int key = (int) (seed & 0xff);
        SHARED.put(key, kept.peekLast());
        check(kept.peekLast()[kept.peekLast().length - 1] == (byte) 3_999, "garbage");
    }

    static void run(int number, long end, CyclicBarrier barrier) {
        try {
            barrier.await();
            for (long round = 0; System.nanoTime() < end && failure == null; round++) {
                long seed = round * 4 + number;
                trees(seed);
                maps(seed);
                faults();
                digests(seed);
                compiled(seed);
                made();
                garbage(seed);
                if (round % 16 == 0) overflow();
                if (round % 64 == number) System.gc();
                LockSupport.parkNanos(1_000);
                ROUNDS.incrementAndGet();
            }
        } catch (Throwable error) {
            failure = error;
        }
    }

    public static void main(String[] arguments) throws Exception {
        long end = System.nanoTime() + Long.parseLong(arguments[0]) * 1_000_000_000L;
        CyclicBarrier barrier = new CyclicBarrier(4);
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < 4; number++) {
            int own = number;
            Thread thread = new Thread(() -> run(own, end, barrier), "churn-" + number);
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) thread.join();
        if (failure != null) {
            failure.printStackTrace();
            System.exit(1);
        }
        System.out.println("rounds " + ROUNDS.get());
    }
}
