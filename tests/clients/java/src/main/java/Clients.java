import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.errors.BadRequestException;
import com.openai.errors.NotFoundException;
import com.openai.errors.OpenAIServiceException;
import com.openai.errors.RateLimitException;
import com.openai.errors.UnauthorizedException;
import com.openai.models.embeddings.CreateEmbeddingResponse;
import com.openai.models.embeddings.EmbeddingCreateParams;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.ollama.OllamaEmbeddingModel;
import dev.langchain4j.model.ollama.OllamaModels;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/**
 * openai-java and LangChain4j, whose JDK client offers to upgrade to HTTP/2 with each request. What the runner tells them is in the
 * file that EMB_CLIENT_SETUP names; one line of JSON is printed for each feature.
 */
public final class Clients {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, String> TEXTS = new TreeMap<>();
    private static JsonNode setup;

    private interface Step {
        void run() throws Exception;
    }

    private record Client(String name, String version, String dialect) {
        void feature(String feature, Step step) throws Exception {
            String detail = "";
            boolean ok = true;
            try {
                step.run();
            } catch (Exception | AssertionError error) {
                ok = false;
                detail = error.getClass().getSimpleName() + ": " + error.getMessage();
            }
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("client", name);
            line.put("version", version);
            line.put("dialect", dialect);
            line.put("feature", feature);
            line.put("ok", ok);
            line.put("detail", detail.substring(0, Math.min(600, detail.length())));
            System.out.println(JSON.writeValueAsString(line));
        }
    }

    private static void check(boolean holds, Object says) {
        if (!holds) {
            throw new AssertionError(says);
        }
    }

    private static String text(String name) {
        return setup.get(name).asText();
    }

    /** Fails unless values are the server's vector of that name, bit by bit. */
    private static void same(float[] values, String name) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        check(Base64.getEncoder().encodeToString(bytes.array()).equals(setup.get("vectors").get(name).asText()),
                "the vector of " + name + " is not the server's: " + values.length + " values");
    }

    private static float[] floats(List<Float> list) {
        float[] values = new float[list.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = list.get(i);
        }
        return values;
    }

    private static <E extends Exception> E fails(Class<E> kind, Step step, String... parts) {
        try {
            step.run();
        } catch (Exception error) {
            check(kind.isInstance(error), error);
            for (String part : parts) {
                check(String.valueOf(error.getMessage()).contains(part), part + " is not in " + error.getMessage());
            }
            return kind.cast(error);
        }
        throw new AssertionError("no error");
    }

    private static OpenAIClient openai(String url, String key, int retries) {
        return OpenAIOkHttpClient.builder().baseUrl(text(url) + "/v1").apiKey(key).maxRetries(retries).build();
    }

    private static CreateEmbeddingResponse create(OpenAIClient api, UnaryOperator<EmbeddingCreateParams.Builder> change) {
        EmbeddingCreateParams.Builder params = EmbeddingCreateParams.builder().model(text("model")).input(TEXTS.get("short"));
        return api.embeddings().create(change.apply(params).build());
    }

    private static void openaiJava() throws Exception {
        Client client = new Client("openai-java", "4.101.0", "OpenAI");
        OpenAIClient api = openai("url", "any", 0);
        UnaryOperator<EmbeddingCreateParams.Builder> asIs = b -> b;

        client.feature("single", () -> same(floats(create(api, asIs).validate().data().get(0).embedding()), "short"));
        client.feature("batch", () -> {
            CreateEmbeddingResponse reply = create(api, b -> b.inputOfArrayOfStrings(new ArrayList<>(TEXTS.values())));
            int i = 0;
            for (String name : TEXTS.keySet()) {
                same(floats(reply.data().get(i++).embedding()), name);
            }
        });
        client.feature("float", () -> same(floats(create(api, b -> b.encodingFormat(EmbeddingCreateParams.EncodingFormat.FLOAT))
                .data().get(0).embedding()), "short"));
        client.feature("base64", () -> same(floats(create(api, b -> b.encodingFormat(EmbeddingCreateParams.EncodingFormat.BASE64))
                .data().get(0).embedding()), "short"));
        client.feature("dimensions", () -> same(floats(create(api, b -> b.dimensions(128)).data().get(0).embedding()), "short:128"));
        client.feature("empty text", () -> same(floats(create(api, b -> b.input("")).data().get(0).embedding()), "empty"));
        client.feature("token ids", () -> {
            List<Long> ids = new ArrayList<>();
            setup.get("ids").forEach(id -> ids.add(id.asLong()));
            same(floats(create(api, b -> b.inputOfArrayOfTokens(ids)).data().get(0).embedding()), "short");
        });
        client.feature("models", () -> {
            check(api.models().list().data().get(0).id().equals(text("model")), "list");
            check(api.models().retrieve(text("model")).id().equals(text("model")), "retrieve");
        });
        client.feature("odd model ids", () -> fails(NotFoundException.class, () -> api.models().retrieve("org/na me?%#é"), "org/na me?%#é"));
        client.feature("unknown model", () -> {
            OpenAIServiceException error = fails(NotFoundException.class, () -> create(api, b -> b.model("no-such")), "no-such");
            check(error.code().orElse("").equals("model_not_found") && error.param().orElse("").equals("model"), error);
        });
        client.feature("too long", () -> fails(BadRequestException.class, () -> create(api, b -> b.input(text("too_long"))), "512 tokens", "602"));
        client.feature("wrong key", () -> fails(UnauthorizedException.class, () -> create(openai("keyed", "wrong-key", 0), asIs)));
        client.feature("rate limit", () -> fails(RateLimitException.class, () -> {
            OpenAIClient slow = openai("keyed", text("slow_key"), 0);
            for (int i = 0; i < 20; i++) {
                create(slow, asIs);
            }
        }));
        client.feature("repeats", () -> {
            OpenAIClient slow = openai("keyed", text("slow_key"), 3);
            long start = System.nanoTime();
            for (int i = 0; i < 3; i++) {
                create(slow, asIs);
            }
            check(System.nanoTime() - start > 900_000_000L, "none was refused");
        });
    }

    private static List<TextSegment> segments() {
        List<TextSegment> segments = new ArrayList<>();
        for (String value : TEXTS.values()) {
            if (!value.isBlank()) {
                segments.add(TextSegment.from(value));
            }
        }
        return segments;
    }

    private static void sameBatch(EmbeddingModel model) {
        List<dev.langchain4j.data.embedding.Embedding> got = model.embedAll(segments()).content();
        int i = 0;
        for (Map.Entry<String, String> entry : TEXTS.entrySet()) {
            if (!entry.getValue().isBlank()) {
                same(got.get(i++).vector(), entry.getKey());
            }
        }
    }

    private static void langchain4j() throws Exception {
        Client client = new Client("langchain4j-open-ai", "1.19.0", "OpenAI");
        OpenAiEmbeddingModel.OpenAiEmbeddingModelBuilder builder =
                OpenAiEmbeddingModel.builder().baseUrl(text("url") + "/v1").apiKey("any").modelName(text("model")).maxRetries(0);
        EmbeddingModel model = builder.build();

        client.feature("single", () -> same(model.embed(TEXTS.get("short")).content().vector(), "short"));
        client.feature("batch", () -> sameBatch(model));
        client.feature("h2c upgrade offers", () -> {
            for (int i = 0; i < 20; i++) {
                same(model.embed(TEXTS.get("short")).content().vector(), "short");
            }
        });
        client.feature("dimensions", () -> same(OpenAiEmbeddingModel.builder().baseUrl(text("url") + "/v1").apiKey("any")
                .modelName(text("model")).dimensions(128).build().embed(TEXTS.get("short")).content().vector(), "short:128"));
        client.feature("unknown model", () -> fails(Exception.class, () -> OpenAiEmbeddingModel.builder().baseUrl(text("url") + "/v1")
                .apiKey("any").modelName("no-such").maxRetries(0).build().embed("x"), "no-such"));
        client.feature("too long", () -> fails(Exception.class, () -> model.embed(text("too_long")), "512 tokens", "602"));

        Client ollama = new Client("langchain4j-ollama", "1.18.1", "Ollama");
        EmbeddingModel other = OllamaEmbeddingModel.builder().baseUrl(text("url")).modelName(text("model")).maxRetries(0).build();
        ollama.feature("single", () -> same(other.embed(TEXTS.get("short")).content().vector(), "short"));
        ollama.feature("batch", () -> sameBatch(other));
        ollama.feature("h2c upgrade offers", () -> {
            for (int i = 0; i < 20; i++) {
                same(other.embed(TEXTS.get("short")).content().vector(), "short");
            }
        });
        ollama.feature("models", () -> {
            OllamaModels models = OllamaModels.builder().baseUrl(text("url")).build();
            check(models.availableModels().content().get(0).getName().startsWith(text("model")), "list");
            check(models.modelCard(text("model")).content() != null, "card");
        });
    }

    public static void main(String[] arguments) throws Exception {
        setup = JSON.readTree(new File(System.getenv("EMB_CLIENT_SETUP")));
        setup.get("texts").fields().forEachRemaining(entry -> TEXTS.put(entry.getKey(), entry.getValue().asText()));
        openaiJava();
        langchain4j();
        System.exit(0);
    }
}
