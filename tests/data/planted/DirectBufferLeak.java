import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Scanner;

/** Keeps frames whose pixels lie outside the heap: "grow N" keeps N more. */
public class DirectBufferLeak {
    static final class Frame {
        final ByteBuffer pixels = ByteBuffer.allocateDirect(100_000);

        /** Touches every page, as a picture would. */
        Frame() {
            while (pixels.hasRemaining()) {
                pixels.putLong(-1L);
            }
        }
    }

    private static final List<Frame> FRAMES = new ArrayList<>();

    public static void main(String[] arguments) {
        System.out.println("ready");
        Scanner commands = new Scanner(System.in);
        while (commands.hasNext() && commands.next().equals("grow")) {
            int frames = commands.nextInt();
            for (int i = 0; i < frames; i++) {
                FRAMES.add(new Frame());
            }
            System.out.println("grown");
        }
    }
}
