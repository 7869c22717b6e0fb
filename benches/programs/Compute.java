/** Integer and floating-point arithmetic; prints its time once it is compiled. */
public class Compute {
    static int sieve(byte[] composite) {
        java.util.Arrays.fill(composite, (byte) 0);
        int primes = 0;
        for (int number = 2; number < composite.length; number++) {
            if (composite[number] != 0) {
                continue;
            }
            primes++;
            for (long multiple = (long) number * number; multiple < composite.length; multiple += number) {
                composite[(int) multiple] = 1;
            }
        }
        return primes;
    }

    static long collatz(int limit) {
        long steps = 0;
        for (int start = 1; start < limit; start++) {
            for (long number = start; number != 1; steps++) {
                number = number % 2 != 0 ? 3 * number + 1 : number / 2;
            }
        }
        return steps;
    }

    static double waves(int count) {
        double sum = 0;
        for (int at = 1; at < count; at++) {
            sum += Math.sqrt(at) / (1 + sum * sum);
        }
        return sum;
    }

    static long work(byte[] composite) {
        return sieve(composite) + collatz(500_000) + (long) waves(5_000_000);
    }

    public static void main(String[] arguments) {
        byte[] composite = new byte[4_000_000];
        long result = 0;
        for (int turn = 0; turn < 4; turn++) {
            result += work(composite);
        }
        long start = System.nanoTime();
        for (int turn = 0; turn < 4; turn++) {
            result += work(composite);
        }
        System.out.println("result " + result + "\ntime_ns " + (System.nanoTime() - start));
    }
}
