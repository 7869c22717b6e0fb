import java.util.ArrayDeque;
import java.util.HashMap;

/** Objects that live long, for a while, and hardly at all; prints the time once it is compiled. */
public class Garbage {
    static final HashMap<Integer, int[]> OLD = new HashMap<>();
    static final ArrayDeque<byte[]> WHILE = new ArrayDeque<>();

    static long work(int count) {
        long sum = 0;
        for (int at = 0; at < count; at++) {
            int[] young = new int[8 + at % 24];
            young[0] = at;
            if (at % 16 == 0) {
                OLD.put(at / 16 % 200_000, young);
            }
            if (at % 4 == 0) {
                WHILE.add(new byte[100]);
            }
            if (WHILE.size() > 100_000) {
                sum += WHILE.remove().length;
            }
            sum += young.length;
        }
        return sum + OLD.size();
    }

    public static void main(String[] arguments) {
        long result = work(6_000_000);
        long start = System.nanoTime();
        result += work(12_000_000);
        System.out.println("result " + result + "\ntime_ns " + (System.nanoTime() - start));
    }
}
